"""Who wins at as many zeros: planted winners are named, planted draws are not won."""

import math
import re

import pytest

from sparsefield.pictures.saving import svg_bytes
from sparsefield.studies import read
from sparsefield.studies.arms import arms
from sparsefield.studies.contenders import (
    Contender,
    as_sparse,
    contenders,
    cut_off,
    preferred,
)
from sparsefield.studies.equal_zeros import frontiers

DENSE = {"family": "relu", "sparsity": 0.5}
KINDS = [
    *({"family": "crelu", "clip": 1.1, "sparsity": s} for s in (0.8, 0.9)),
    DENSE,
    *({**DENSE, "penalty": "l1", "penalty_weight": w} for w in (1.0, 3.0)),
    *({**DENSE, "penalty": "hoyer", "penalty_weight": w} for w in (3.0, 10.0)),
    *({"family": "topk", "sparsity": s} for s in (0.9, 0.95)),
]
ARMS = [{**kind, "skip": skip} for kind in KINDS for skip in (0.0, 0.9)]
LEADS = ("topk", "hoyer", "l1", "dense")
LEVELS = {0.7: 0.03, 0.8: 0.1, 0.85: 0.2, 0.9: 0.4, 0.95: 0.6}
# penalty weight -> zeros
PENALISED = {("l1", 1.0): 0.7, ("l1", 3.0): 0.93, ("hoyer", 3.0): 0.75, ("hoyer", 10.0): 0.92}


def kind_of(config):
    if config["penalty"] != "none":
        return config["penalty"]
    return "dense" if config["family"] == "relu" else config["family"]


def planted(leads, *, noise=0.004, zeros=None):
    """A rival's arms are above ours by ``leads[kind, skip]``; ours have 0.9 whatever the zeros."""

    def measure(config, seed):
        kind = kind_of(config)
        jitter = noise * math.sin(7 * seed + 3 * len(kind) + config["sparsity"])
        accuracy = 0.9 + leads.get((kind, bool(config["skip"])), -0.05) * (kind != "crelu")
        share = (zeros or {}).get(kind) or PENALISED.get((kind, config["penalty_weight"]))
        share = (share or config["sparsity"] - 0.02 * (kind == "crelu")) + 0.001 * (seed - 1)
        curve = [[level, accuracy - fall + jitter, level + 0.002] for level, fall in LEVELS.items()]
        return {
            "test_accuracy": accuracy + jitter,
            "zeros_end": share,
            "zeros_end_last": share,
            "thresholded": curve if kind == "dense" else None,
        }

    return measure


def reading(invented, measure, arms=ARMS, **kw):
    return read(invented(arms, measure, study="rivals", **kw))


def sentence(reading, *parts):
    (found,) = (one for one in reading.findings if all(part in one.sentence for part in parts))
    return found


def test_the_headline_names_who_wins_at_equal_zeros(invented):
    leads = {
        ("topk", True): 0.05,
        ("hoyer", False): -0.2,
        ("l1", False): -0.1,
        ("topk", False): -0.3,
    }
    (without, with_skip) = halves(reading(invented, planted(leads), seeds=5))
    assert "at 80 and 85 % zeros, L1 penalty loses to CReLU: −" in without
    assert "thresholding" not in without  # it does worse
    assert (
        "; with more zeros than ours at 80 and 85 %, top-k (with 90.1 %) beats CReLU: +"
        in with_skip
    )
    interval = reading(invented, planted(leads), seeds=5).findings[0].interval
    assert -0.055 < interval.low < interval.high < -0.035
    swapped = {(kind, not skip): lead for (kind, skip), lead in leads.items()}  # the twin
    (without, with_skip) = halves(reading(invented, planted(swapped), seeds=5))
    assert (
        "; with more zeros than ours at 80 and 85 %, top-k (with 90.1 %) beats CReLU: +" in without
    )
    assert "L1 penalty loses to CReLU: −" in with_skip
    assert "with more zeros" not in with_skip


def test_thresholds_that_do_better_than_the_trained_are_in_the_headline(invented):
    leads = {(kind, False): -0.3 for kind in ("topk", "l1", "hoyer")}
    (without, with_skip) = halves(reading(invented, planted(leads), seeds=5))
    assert "; thresholding the dense network loses to CReLU: −" in without
    assert "thresholding" not in with_skip


def halves(found):
    """The headline without the skip and with it, less what only rivals reach."""
    told = found.findings[0].sentence.split(" Only rivals reach")[0]
    return re.split("Without the skip|With skip 0.9", told)[1:]


def test_a_planted_draw_is_not_won(invented):
    level = {(kind, skip): 0.0 for kind in LEADS for skip in (False, True)}

    def measure(config, seed):
        swing = (config["family"] == "crelu") * (0.02 if seed % 2 else -0.02)
        found = planted(level)(config, seed)
        return found | {"test_accuracy": found["test_accuracy"] + swing}

    found = reading(invented, measure, seeds=6)
    trained = re.compile("85 %( zeros)?, (top-k|L1 penalty|Hoyer penalty) .*paired")
    single = [one for one in found.findings if trained.search(one.sentence)]
    assert len(single) == 6
    for one in (found.findings[0], *single):
        assert not re.search(r"beats|loses", one.sentence)
        assert "is not told apart from CReLU" in one.sentence
        assert not one.interval.excludes(0.0)


def test_a_rival_with_fewer_zeros_is_not_let_in(invented):
    leads = {("hoyer", True): 0.08}
    one = reading(invented, planted(leads, zeros={"hoyer": 0.7}), seeds=5)
    at = sentence(one, "With skip 0.9, Hoyer penalty")
    assert (
        "is not compared with ours, for want of equal zeros: its networks have 70.1 to 70.1 %"
        in at.sentence
    )
    assert "beats" not in one.findings[0].sentence
    theirs = sentence(one, "With skip 0.9, of 6 rival networks")
    assert "2 win" in theirs.sentence
    assert "First is Hoyer penalty" in theirs.sentence
    assert theirs.interval.low <= 0.08 <= theirs.interval.high
    other = reading(invented, planted(leads, zeros={"hoyer": 0.9}), seeds=5)  # the twin
    at = sentence(
        other, "With skip 0.9, with more zeros than ours at 80", "Hoyer penalty (with 90.1 %)"
    )
    assert "beats CReLU" in at.sentence
    assert at.interval.low < 0.08 < at.interval.high


def test_dead_networks_do_not_make_an_arm_sparse(invented):
    def measure(config, seed):
        found = planted({})(config, seed)
        dead = kind_of(config) == "hoyer" and seed == 0
        return found | ({"failed": True, "test_accuracy": 0.1, "zeros_end": 1.0} if dead else {})

    found = contenders(arms(invented(ARMS, measure)))
    weak = next(one for one in found if one.name == "Hoyer penalty, weight 3")
    assert weak.sparse().estimate == pytest.approx(0.7505)
    assert weak.accurate().n == 3
    assert weak.accurate().low < 0.5
    said = sentence(read(invented(ARMS, measure, study="rivals")), "Hoyer penalty: at the")
    assert "4 of 12 runs fail" in said.sentence


def test_what_does_not_train_is_no_opponent(invented):
    def measure(config, seed):
        found = planted({("topk", True): 0.05})(config, seed)
        lost = config["sparsity"] == 0.9 if config["family"] == dead else kind_of(config) == dead
        return found | ({"failed": True, "test_accuracy": 0.1} if lost else {})

    dead = "topk"
    found = reading(invented, measure)
    sentence(found, "With skip 0.9, with more zeros than ours at 80", "top-k (with 95.0 %) beats")
    (row,) = (row for row in found.tables[0].rows if row[:2] == ("0.9", "top-k"))
    assert row[-2:] == ("95.0", "95.0")
    dead = "crelu"  # at 90 %: what is left has fewer zeros than any level
    found = reading(invented, measure)
    assert "beats" not in found.findings[0].sentence
    theirs = sentence(found, "With skip 0.9", "rival network").sentence
    assert "none as sparse" in str(found.tables)
    assert "L1 penalty, weight 3" not in theirs  # names are in the table


def test_levels_that_only_rivals_reach_are_told(invented):
    found = reading(invented, planted({("topk", True): 0.05}), seeds=5)
    told = sentence(found, "With skip 0.9, at 90 % zeros, the best trained rival, top-k")
    assert "has 95." in told.sentence
    assert "(the most: 87.9 %; asked for at most s = 0.9; " in told.sentence
    assert "[frontier](frontier.md)" in told.sentence
    first = found.findings[0].sentence
    assert "with skip 0.9 (ours: at most 87.9 % in every seed), where top-k" in first
    reach = planted({("topk", True): 0.05}, zeros={"crelu": 0.97})  # the twin
    found = reading(invented, reach, seeds=5)
    assert "Only rivals" not in found.findings[0].sentence
    assert not any("no clipped network run here" in one.sentence for one in found.findings)


def test_more_zeros_than_the_level_are_not_pooled_with_equal_zeros(invented):
    """A penalty whose fewest zeros are 93 % is compared apart, by its zeros."""
    leads = {("l1", True): 0.05, ("topk", True): 0.0}
    found = reading(invented, planted(leads, zeros={"l1": 0.93, "topk": 0.8}), seeds=5)
    told = sentence(found, "With skip 0.9, with more zeros than ours at 80", "L1 penalty (with 93")
    assert told.interval.excludes(0.0)
    assert not any("zeros, L1 penalty" in one.sentence for one in found.findings)
    there = planted(leads, zeros={"topk": 0.8})  # the twin
    found = reading(invented, there, seeds=5)
    assert "L1 penalty beats CReLU" in found.findings[0].sentence
    assert not any("ours at 80" in one.sentence and "L1" in one.sentence for one in found.findings)


RATES = [{**arm, "lr": lr} for arm in ARMS for lr in (0.001, 0.01)]


@pytest.mark.parametrize("seeds", [1, 4])
def test_nested_selection_says_whether_it_says_the_same(invented, seeds):
    found = reading(invented, planted({("l1", True): 0.05}), RATES, seeds=seeds)
    told = sentence(found, "chosen by the other seeds alone").sentence
    assert ("not known: that takes more seeds" in told) == (seeds == 1)
    assert ("the verdicts the same" in told) == (seeds > 1)
    one_rate = reading(invented, planted({("l1", True): 0.05}), seeds=seeds)  # nothing was chosen
    assert not any("other seeds alone" in one.sentence for one in one_rate.findings)


def test_nested_selection_that_says_otherwise_is_told_in_full(invented):
    """One seed of ours chooses a rate at which only it does well."""

    def measure(config, seed):
        found = planted({("l1", True): 0.03, ("l1", False): 0.03})(config, seed)
        lucky = kind_of(config) == "crelu" and config["lr"] == 0.01
        if lucky:
            value = 0.999 if seed == 0 else 0.88
            return found | {"test_accuracy": value, "validation_accuracy": value}
        return found

    found = reading(invented, measure, RATES, seeds=4)
    told = sentence(found, "chosen by the other seeds alone").sentence
    assert "Then: " in told
    assert "the verdicts the same" not in told


def test_lost_runs_are_no_verdict(invented):
    def lost(config, seed):
        return None if config["family"] == "crelu" else planted({})(config, seed)

    first = reading(invented, lost, seeds=4).findings[0].sentence
    assert "no run of a clipped network has a result" in first


def test_a_seed_takes_the_setting_that_validation_prefers_where_both_will_do():
    """Seed 1 has more zeros at the good setting than at the one at which it failed."""
    good = contender({0: 0.9, 1: 0.9}, {0: 0.78, 1: 0.95}, 0.9, knob=0.8)
    bad = contender({0: 0.5, 1: 0.1}, {0: 0.92, 1: 0.88}, 0.3, knob=0.9)
    (found,) = frontiers([good, bad], [])
    assert found.at(0.85).accuracies == pytest.approx({0: 0.7, 1: 0.9})
    assert found.at(0.85).zeros == pytest.approx(0.9)
    better = contender({0: 0.5, 1: 0.1}, {0: 0.92, 1: 0.88}, 0.95, knob=0.9)  # the twin
    (found,) = frontiers([good, better], [])
    assert found.at(0.85).accuracies[1] == pytest.approx(0.1)


def test_validation_chooses_and_the_test_set_reports(invented):
    def measure(config, seed):
        found = planted({("topk", True): 0.05, ("l1", True): 0.04})(config, seed)
        return found | {"validation_accuracy": 0.99 if kind_of(config) == "l1" else 0.5}

    found = reading(invented, measure, seeds=5)
    assert "85 % zeros, L1 penalty beats CReLU: +" in halves(found)[-1]
    sentence(found, "With skip 0.9, with more zeros", "top-k (with 90.1 %) beats CReLU: +5")


def test_thresholds_are_read_between_the_levels_that_were_tried(invented):
    record = invented(ARMS, planted({("dense", True): 0.05}), study="rivals", seeds=4)
    found = arms(record)
    ours = next(one for one in contenders(found) if one.name == "CReLU, s = 0.9" and one.skip)
    levels = as_sparse(cut_off(found), ours)  # ours has 0.88
    assert [one.setting for one in levels] == ["level 0.9", "level 0.95"]
    assert preferred(levels) is levels[0]
    told = sentence(read(record), "With skip 0.9, at 80 and 85 %", "thresholding the dense")
    falls = (0.03 + 0.98 * 0.07 + 0.1 + 0.96 * 0.1) / 2  # zeros lie 0.002 above the level
    assert told.interval.estimate == pytest.approx(0.05 - falls, abs=0.004)
    assert told.interval.excludes(0.0)
    table = read(record).tables[-1]
    assert [row[1] for row in table.rows[:5]] == ["0.7", "0.8", "0.85", "0.9", "0.95"]


@pytest.mark.parametrize(("gain", "said"), [(0.2, "rises: +20"), (0.0, "is not told apart")])
def test_what_the_skip_adds_at_equal_zeros(invented, gain, said):
    def measure(config, seed):
        found = planted({})(config, seed)
        swing = 0.01 * math.sin(5 * seed) * (config["skip"] > 0)
        accuracy = found["test_accuracy"] - 0.3 + gain * (config["skip"] > 0) + swing
        return found | {"test_accuracy": accuracy}

    added = sentence(reading(invented, measure, seeds=5), "With skip 0.9 in place", "of CReLU")
    assert f"at 80 and 85 % zeros, test accuracy of CReLU {said}" in added.sentence


def line(*places, seeds=(0, 1)):
    """Settings of one method in order: zeros, accuracy, validation."""
    return [
        contender(
            dict.fromkeys(seeds, accuracy),
            {seed: zeros + 0.01 * seed for seed in seeds},
            validation,
            knob=knob,
        )
        for knob, (zeros, accuracy, validation) in enumerate(places)
    ]


def contender(accuracy, zeros, validation, failed=False, knob=9.0):
    return Contender("top-k", "", 0.9, False, accuracy, zeros, validation, failed, knob)


def test_a_line_is_read_by_seed_and_never_beyond_its_end():
    (found,) = frontiers(line((0.7, 0.9, 0.9), (0.9, 0.7, 0.7)), [])
    assert found.at(0.8).accuracies == pytest.approx({0: 0.8, 1: 0.81})
    assert found.at(0.805).validation == pytest.approx(0.8)
    more = found.at(0.5)  # a network with more zeros will do
    assert (more.accuracies, more.zeros) == ({0: 0.9, 1: 0.9}, pytest.approx(0.705))
    assert found.at(0.905) is None  # seed 0 has not as many


def test_nothing_is_read_between_settings_that_are_no_neighbours():
    """What lies between was tried, and is worse."""
    places = (0.7, 0.9, 0.9), (0.8, 0.4, 0.4), (0.9, 0.7, 0.7)
    (found,) = frontiers(line(*places), [])
    assert found.at(0.8).accuracies == {0: 0.7, 1: 0.7}  # the sparsest, and not 0.8
    assert found.at(0.8).zeros == pytest.approx(0.905)
    (found,) = frontiers(line(places[0], places[2]), [])  # the twin
    assert found.at(0.8).accuracies == pytest.approx({0: 0.8, 1: 0.81})


def test_a_setting_that_went_astray_does_not_bend_the_line():
    (found,) = frontiers(line((0.7, 0.9, 0.9), (0.9, 0.7, 0.7), (0.8, 0.3, 0.3)), [])
    assert found.at(0.79).accuracies[0] == pytest.approx(0.81)


def test_a_dead_run_stays_on_the_line_at_the_zeros_of_its_arm():
    alive = line((0.7, 0.9, 0.9))[0]
    half = contender({0: 0.8, 1: 0.1}, {0: 0.9}, 0.5)
    (found,) = frontiers([alive, half], [])
    assert found.at(0.9).accuracies == pytest.approx({0: 0.8, 1: 0.1})
    gone = contender({0: 0.1, 1: 0.1}, {0: 1.0, 1: 1.0}, 0.1, failed=True)
    (found,) = frontiers([alive, half, gone], [])
    assert found.at(0.95) is None


def test_the_price_of_zeros(invented):
    found = reading(invented, planted({("dense", True): 0.03}), seeds=5)
    price = sentence(found, "With skip 0.9, the price of zeros")
    assert ", wins: +3" in price.sentence
    assert price.interval.low < 0.03 < price.interval.high
    free = reading(invented, planted({("dense", True): -0.03}), seeds=5)  # the twin
    assert ", loses: −" in sentence(free, "With skip 0.9, the price of zeros").sentence


OURS, DENSES = ARMS[:4], ARMS[4:6]


@pytest.mark.parametrize(
    "kept",
    [OURS, DENSES, ARMS[4:], OURS[:1], ARMS[::2], ARMS[-1:], [*OURS[:1], *DENSES[1:]]],
    ids=["ours", "dense", "rivals", "one", "no skip", "a rival", "two skips"],
)
@pytest.mark.parametrize("seeds", [1, 3])
def test_whatever_is_missing_it_stands(invented, kept, seeds):
    def lossy(config, seed):
        found = planted({})(config, seed)
        kind = kind_of(config)
        if kind == "topk" or (seed == 1 and kind == "crelu"):
            return None
        if kind == "l1":
            return found | {"failed": True, "zeros_end": None}
        return found | ({"thresholded": None} if seed == 2 else {})

    for measure in (lossy, planted({}), lambda config, seed: None):
        found = reading(invented, measure, kept, seeds=seeds)
        said = " ".join(one.sentence for one in found.findings)
        tables = " ".join(" ".join(row) for table in found.tables for row in table.rows)
        assert "nan" not in said + tables
        assert all(len(row) == len(table.columns) for table in found.tables for row in table.rows)
        assert svg_bytes(found.draw()).startswith(b"<?xml")
        assert seeds > 1 or not {"wins", "loses", "beats"} & set(said.replace(":", "").split())
