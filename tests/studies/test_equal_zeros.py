"""Who is more accurate with as many zeros: planted winners win, planted draws do not."""

import math

import pytest

from sparsefield.studies import effect, table
from sparsefield.studies.arms import arms
from sparsefield.studies.equal_zeros import Setting, at, meet, settings

DENSE = {"family": "relu", "sparsity": 0.5}
ARMS = [
    *({"family": "crelu", "clip": 1.1, "sparsity": s} for s in (0.8, 0.9)),
    DENSE,
    *({**DENSE, "penalty": "l1", "penalty_weight": w} for w in (1.0, 3.0)),
    *({"family": "topk", "sparsity": s} for s in (0.9, 0.8, 0.95)),
]
OURS, TOPK = {"family": "crelu"}, {"family": "topk"}
L1, PLAIN = {"penalty": "l1"}, {**DENSE, "penalty": "none"}
LEVELS = {0.7: 0.03, 0.8: 0.1, 0.85: 0.2, 0.9: 0.4, 0.95: 0.6}
SPEC = {"kind": "at_zeros", "ours": OURS, "rivals": [PLAIN, L1, TOPK]}


def kind_of(config):
    return "l1" if config["penalty"] == "l1" else config["family"]


def planted(leads, *, noise=0.004, zeros=None):
    """A rival is above ours by ``leads[kind]``; ours have 0.9 whatever the zeros."""

    def measure(config, seed):
        kind = kind_of(config)
        jitter = noise * math.sin(7 * seed + 3 * len(kind) + config["sparsity"])
        accuracy = 0.9 + leads.get(kind, -0.05) * (kind != "crelu")
        share = (zeros or {}).get(kind) or {1.0: 0.7, 3.0: 0.93}.get(config["penalty_weight"])
        share = (share or config["sparsity"] - 0.02 * (kind == "crelu")) + 0.001 * (seed - 1)
        curve = [[level, accuracy - fall, level + 0.002] for level, fall in LEVELS.items()]
        found = {"test_accuracy": accuracy + jitter, "zeros_end": share}
        return found | {"thresholded": curve if kind == "relu" else None}

    return measure


@pytest.mark.parametrize("lead", [0.05, -0.03])
def test_the_rival_that_validation_chooses_is_met_at_equal_zeros(invented, declared, lead):
    record = invented(ARMS, planted({"topk": lead, "l1": -0.1}), seeds=5)
    found = effect(declared({"lead": SPEC}), record, "lead")
    assert found.verdict == ("rises" if lead > 0 else "falls")
    assert found.found.estimate == pytest.approx(lead, abs=0.006)  # the noise of both sides
    swapped = invented(ARMS, planted({"topk": -0.2, "l1": lead}), seeds=5)  # the twin
    assert effect(declared({"lead": SPEC}), swapped, "lead").verdict == found.verdict


def test_a_planted_draw_is_not_won(invented, declared):
    def measure(config, seed):
        swing = (config["family"] == "crelu") * (0.02 if seed % 2 else -0.02)
        found = planted({"topk": 0.0, "l1": 0.0})(config, seed)
        return found | {"test_accuracy": found["test_accuracy"] + swing}

    found = effect(declared({"lead": SPEC}), invented(ARMS, measure, seeds=6), "lead")
    assert found.verdict == "open"


def test_a_rival_with_fewer_zeros_is_not_met(invented, declared):
    only = {**SPEC, "rivals": [L1]}
    few = invented(ARMS, planted({"l1": 0.08}, zeros={"l1": 0.7}))
    assert effect(declared({"lead": only}), few, "lead").verdict == "missing"
    enough = invented(ARMS, planted({"l1": 0.08}, zeros={"l1": 0.855}))  # the twin
    assert effect(declared({"lead": only}), enough, "lead").verdict == "rises"


def test_a_rival_that_starts_above_a_level_is_not_pooled_with_equal_zeros(invented):
    record = invented(ARMS, planted({}, zeros={"l1": 0.93}))
    ours, rival = (settings(arms(record, where)) for where in (OURS, L1))
    assert meet(ours, [rival]) == {}
    assert at(rival, 0.8).sparse == pytest.approx(0.93)  # the twin: it would be there


def test_dead_networks_do_not_make_a_setting_sparse(invented):
    def measure(config, seed):
        dead = config["penalty_weight"] == 1.0 and seed == 0
        found = planted({})(config, seed)
        return found | ({"failed": True, "test_accuracy": 0.1, "zeros_end": 1.0} if dead else {})

    weak, strong = settings(arms(invented(ARMS, measure), L1))
    assert weak.sparse == pytest.approx(0.7005)
    assert len(weak.accuracy) == 3
    assert strong.sparse == pytest.approx(0.93)


def test_what_does_not_train_is_no_opponent(invented):
    def measure(config, seed):
        dead = kind_of(config) == "topk" and config["sparsity"] < 0.95
        return planted({})(config, seed) | ({"failed": True} if dead else {})

    assert len(settings(arms(invented(ARMS, measure), TOPK))) == 1


def test_a_seed_takes_the_setting_that_validation_prefers_where_both_will_do():
    """Seed 1 has more zeros at the good setting than at the one at which it failed."""
    good = Setting({0: 0.9, 1: 0.9}, {0: 0.78, 1: 0.95}, 0.9)
    bad = Setting({0: 0.5, 1: 0.1}, {0: 0.92, 1: 0.88}, 0.3)
    found = at([good, bad], 0.85)
    assert found.accuracy == pytest.approx({0: 0.7, 1: 0.9})
    assert found.sparse == pytest.approx(0.9)
    better = Setting(bad.accuracy, bad.zeros, 0.95)  # the twin
    assert at([good, better], 0.85).accuracy[1] == pytest.approx(0.1)


def test_thresholds_are_read_between_the_levels_that_were_tried(invented, declared):
    cut = {**SPEC, "rivals": [{**PLAIN, "thresholded": True}]}
    record = invented(ARMS, planted({"relu": 0.05}), seeds=4)
    found = effect(declared({"cut": cut}), record, "cut")
    falls = (0.03 + 0.98 * 0.07 + 0.1 + 0.96 * 0.1) / 2  # zeros lie 0.002 above the level
    assert found.found.estimate == pytest.approx(0.05 - falls, abs=0.004)
    assert found.verdict == "falls"


def test_nested_selection_is_not_taken_in_by_one_lucky_seed(invented, declared):
    rates = [{**arm, "lr": lr} for arm in ARMS for lr in (0.001, 0.01)]

    def measure(config, seed):
        found = planted({"topk": 0.03, "l1": -0.1})(config, seed)
        if kind_of(config) == "crelu" and config["lr"] == 0.01:
            return found | dict.fromkeys(
                ("test_accuracy", "validation_accuracy"), 0.999 if seed == 0 else 0.88
            )
        return found

    found = effect(declared({"lead": SPEC}), invented(rates, measure, seeds=4), "lead")
    assert (found.verdict, found.nested_verdict) == ("open", "rises")


def test_the_table_names_what_has_more_zeros_or_too_few(invented, declared):
    tables = {"levels": {"at_zeros": [OURS, L1, TOPK]}}
    record = invented(ARMS, planted({}, noise=0.0))
    study = declared({}, tables=tables)
    found = {row[0]: row[1:] for row in table(study, record, "levels").rows}
    assert found["CReLU"][0].startswith("90.0 [90.0, 90.0]")
    assert found["CReLU"][2:] == ("none as sparse", "none as sparse")
    assert found["top-k"][2] == "85.0 [85.0, 85.0]"
    assert found["dense ReLU"][3] == found["top-k"][3] == "none as sparse"
