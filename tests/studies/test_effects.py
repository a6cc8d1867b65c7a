"""Effects: planted ones are found, noise is none, failures and lost runs are counted."""

import json
import math

import numpy as np
import pytest

from sparsefield.errors import InvalidInput
from sparsefield.studies import effect, effects

ARMS = [{"q": q, "lr": lr} for q in (1.0, 4.0) for lr in (1e-3, 1e-2)]
Q = {"from": {"q": 1.0}, "to": {"q": 4.0}}


def noise(config, seed, sd=0.01):
    """Accuracy without any effect of q and rate."""
    at = [seed, round(1000 * config["q"]), round(1e4 * config["lr"])]
    return 0.8 + sd * np.random.default_rng(at).normal()


def gained(gain):
    """Accuracy that a larger q raises by ``gain``, whatever the rate."""
    return lambda config, seed: {"test_accuracy": noise(config, seed) + gain * (config["q"] > 1)}


@pytest.mark.parametrize(("gain", "verdict"), [(0.1, "rises"), (-0.1, "falls"), (0.0, "open")])
def test_a_planted_effect_has_its_sign_and_none_is_open(invented, declared, gain, verdict):
    found = effect(declared({"q": Q}), invented(ARMS, gained(gain), seeds=6), "q")
    assert (found.verdict, found.nested_verdict) == (verdict, verdict)
    assert found.found.low <= gain <= found.found.high
    assert found.found.n == found.nested.n == 6


def test_a_choice_among_noise_does_not_fool_the_nested_twin(invented, declared):
    """Eight rates against one: the best of eight looks better, and by nested selection is not.

    Over 40 records of no effect the plain difference is 1.4 sd of a seed too high on average (the
    best of eight means), the nested one none; |z| < 4 has a false alarm in 16,000, seeds are fixed.
    """
    rates = [1e-3 * 1.1**i for i in range(8)]
    arms = [{"q": 1.0, "lr": 1e-3}, *({"q": 4.0, "lr": lr} for lr in rates)]
    study, plain, nested = declared({"q": Q}), [], []
    for i in range(40):

        def measure(config, seed, i=i):
            at = [i, seed, round(1e6 * config["lr"]), int(config["q"])]
            return {"test_accuracy": 0.8 + 0.01 * np.random.default_rng(at).normal()}

        found = effect(study, invented(arms, measure, seeds=4), "q")
        plain.append(found.found.estimate)
        nested.append(found.nested.estimate)
    z = [np.mean(each) / (np.std(each, ddof=1) / math.sqrt(40)) for each in (plain, nested)]
    assert z[0] > 4  # the twin
    assert abs(z[1]) < 4


def test_one_seed_is_unknown_and_nested_is_missing(invented, declared):
    found = effect(declared({"q": Q}), invented(ARMS, gained(0.1), seeds=1), "q")
    assert (found.verdict, found.nested_verdict) == ("unknown", "missing")
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["found"]["low"] is None


def test_runs_that_the_record_lacks_are_missing(invented, declared):
    odd = {"q": {"from": {"q": 1.0}, "to": {"q": 16.0}}}
    assert effect(declared(odd), invented(ARMS, gained(0.1)), "q").verdict == "missing"


def test_lost_runs_leave_their_seed_out_and_count_as_failed(invented, declared):
    def lost(config, seed):
        return None if config["q"] > 1 and seed == 2 else gained(0.1)(config, seed)

    share = {"kind": "share", "of": {"q": 4.0}}
    found = effects(declared({"q": Q, "fails": share}), invented(ARMS, lost, seeds=4))
    assert found["q"].found.n == 3
    assert found["q"].verdict == "rises"
    assert found["fails"].text(found["fails"].found) == "25.0 [4.6, 69.9] %"


def test_failures_stay_in_the_mean_and_are_counted_at_every_rate(invented, declared):
    def failing(config, seed):
        dead = config["lr"] > 5e-3 or seed == 0
        return {"test_accuracy": 0.1 if dead else 0.9, "failed": dead}

    of = {"of": {"q": 4.0}}
    wanted = {"chosen": {"kind": "share", **of}, "mean": {"kind": "mean", **of}}
    wanted |= {"every": {"kind": "share", **of, "rates": "all"}}
    found = effects(declared(wanted), invented(ARMS, failing, seeds=4))
    assert found["chosen"].found.estimate == 0.25
    assert found["every"].found.estimate == 5 / 8
    assert found["mean"].found.estimate == pytest.approx(0.7)


def test_pairs_are_pooled_and_a_seed_counts_once(invented, declared):
    arms = [{"q": q, "sparsity": s} for q in (1.0, 4.0) for s in (0.7, 0.9)]

    def measure(config, seed):
        gain = (0.1 + 0.02 * seed) * (config["sparsity"] > 0.8) * (config["q"] > 1)
        return {"test_accuracy": 0.5 + gain}

    found = effect(declared({"q": {**Q, "each": ["sparsity"]}}), invented(arms, measure), "q")
    assert found.found.n == 3
    assert found.found.estimate == pytest.approx(0.06)
    pairs = [[{"q": 1.0, "sparsity": s}, {"q": 4.0, "sparsity": s}] for s in (0.7, 0.9)]
    same = effect(declared({"q": {"pairs": pairs}}), invented(arms, measure), "q")
    assert same.found == found.found


def test_a_choice_is_never_silent(invented, declared):
    arms = [{"q": q, "clip": clip} for q in (1.0, 4.0) for clip in (0.6, 1.1)]
    record = invented(arms, lambda c, seed: {"test_accuracy": c["clip"] / 2 + c["q"] / 100})
    silent = effect(declared({"q": Q}), record, "q")
    assert silent.verdict == "missing"
    assert "{'q': 1.0} leaves several arms, which differ in clip: name these in wh" in silent.why
    chosen = effect(declared({"q": {**Q, "choose": ["clip"]}}), record, "q")
    assert chosen.found.estimate == pytest.approx(0.03)


def test_what_training_moves(invented, declared):
    def measure(config, seed):
        return {"zeros_init": 0.9, "zeros_end": 0.9 + (0.02 if config["q"] > 1 else -0.04)}

    wanted = {
        name: {"kind": "mean", "measure": name, "each": ["q"]}
        for name in ("zeros_change", "zeros_moved")
    }
    found = effects(declared(wanted), invented(ARMS[::2], measure))
    assert found["zeros_change"].verdict == "falls"
    assert found["zeros_change"].text(found["zeros_change"].found).startswith("−1.0")
    assert found["zeros_moved"].verdict == "value"
    assert found["zeros_moved"].text(found["zeros_moved"].found) == "3.0 [3.0, 3.0] %"


def test_accuracy_goes_with_what_was_planted(invented, declared):
    """Accuracy follows the noise of the gradient, in the order of the depths at each width."""
    arms = [{"depth": d, "width": w, "clip": 1.0} for d in (3, 6, 12, 24, 48) for w in (40, 400)]
    ranks = {
        "noise": {"kind": "rank", "with": "noise", "hold": "contraction"},
        "contraction": {"kind": "rank", "with": "contraction", "hold": "noise"},
    }
    from sparsefield.studies.predictions import predicted

    def measure(config, seed):
        return {"test_accuracy": 0.9 - predicted("noise", config) / 100 + 1e-4 * seed}

    record = invented(arms, measure)
    found = effects(declared(ranks), record)
    assert found["noise"].found.estimate > 0.9
    assert abs(found["contraction"].found.estimate) < 1e-6
    again = type(record)(**{**vars(record), "rows": record.rows[::-1]})
    assert effects(declared(ranks), again)["noise"].found == found["noise"].found


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({**Q, "colour": "red"}, "effect q: colour: is not known"),
        ({"kind": "ratio"}, "effect q: ratio: is not known"),
        ({**Q, "measure": "speed"}, "measure 'speed': is unknown; there are test_accuracy"),
        ({"from": {"hue": 1}, "to": {"q": 4}}, "where: hue=1: no run has such a field"),
        ({"from": {"q": 1.0}}, "effect q: to: is needed"),
    ],
)
def test_an_effect_that_is_none_is_one_line(invented, declared, spec, said):
    with pytest.raises(InvalidInput, match=said) as error:
        effect(declared({"q": spec}), invented(ARMS, gained(0.0)), "q")
    assert len(str(error.value).splitlines()) == 1


def test_an_effect_that_is_not_declared(invented, declared):
    with pytest.raises(InvalidInput, match="has no effect 'p'; there are q"):
        effect(declared({"q": Q}), invented(ARMS, gained(0.0)), "p")
