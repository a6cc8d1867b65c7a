"""Learning rates by parameter, and through them the scale identity of PAPER; and by step."""

from itertools import pairwise

import numpy as np
import pytest

from sparsefield.train import TrainConfig, load_model, read_run, train
from sparsefield.train.optimizer import schedule_factor

UNITS = 2.0  # a power of two: every number in the larger units is exact
LARGER = {"q": UNITS**2, "head_gain": 3.0 / UNITS}
RATES = {
    "sgd": {"lr_first": UNITS**2, "lr_bias": UNITS**2, "lr_head": UNITS**-2},
    "adam": {"lr_first": UNITS, "lr_bias": UNITS, "lr_head": 1 / UNITS},
}
PEAK = {"sgd": 0.02, "adam": 1e-3}


def losses(config, out):
    train(config, out=out, progress=False)
    return read_run(out).metrics["loss"]


@pytest.fixture
def pair(config, tmp_path):
    """Losses of a run at q* = 1 and of one in larger units with some rates."""

    def make(optimizer, rates):
        shared = {"optimizer": optimizer, "lr": PEAK[optimizer], "log_every": 1, "depth": 4}
        one = losses(config(**shared, q=1.0, head_gain=3.0), tmp_path / "one")
        return one, losses(config(**shared, **LARGER, **rates), tmp_path / "other")

    return make


def test_sgd_in_other_units_is_the_same_run_to_the_last_bit(pair, tmp_path):
    one, other = pair("sgd", RATES["sgd"])
    assert np.array_equal(one, other)
    assert one[-1] < 0.8 * one[0]  # it learns
    a, b = (load_model(tmp_path / name) for name in ("one", "other"))
    assert (UNITS * a.layers[0].weight).equal(b.layers[0].weight)
    assert a.layers[2].weight.equal(b.layers[2].weight)
    assert (UNITS * a.layers[2].bias).equal(b.layers[2].bias)
    assert (a.head.weight / UNITS).equal(b.head.weight)


def test_adam_in_other_units_is_the_same_run_but_for_epsilon(pair):
    one, other = pair("adam", RATES["adam"])
    assert other == pytest.approx(one, rel=1e-3)
    assert one[-1] < 0.9 * one[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("missing", ["lr_first", "lr_bias", "lr_head"])
def test_without_any_of_the_factors_it_is_another_run(pair, optimizer, missing):
    rates = {name: rate for name, rate in RATES[optimizer].items() if name != missing}
    one, other = pair(optimizer, rates)
    assert abs(other - one).max() > 5e-3


def test_a_gradient_is_clipped_over_all_groups(config, tmp_path):
    """Otherwise a factor would exempt its group from the clip."""
    ends = [
        losses(config(grad_clip=1e-6, lr_head=factor, lr=0.01), tmp_path / str(factor))
        for factor in (1.0, 1.5)
    ]
    assert ends[0] == pytest.approx(ends[1], abs=1e-4)


def factor(step, *, total, **fields):
    return schedule_factor(TrainConfig(**fields), total, step)


def rates(**options):
    return [factor(step, **options) for step in range(options["total"])]


def test_warm_up_rises_linearly_to_the_peak():
    assert rates(total=10, warmup=0.4, schedule="constant")[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_falls_from_the_peak_towards_zero():
    values = rates(total=100, warmup=0.1, schedule="cosine")
    assert values[10] == 1.0
    assert values[55] == pytest.approx(0.5)
    assert 0 < values[-1] < 1e-2
    assert all(a > b for a, b in pairwise(values[10:]))
    assert factor(100, total=100, warmup=0.1, schedule="cosine") == 0.0


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert rates(total=5, warmup=0.0, schedule="constant") == [1.0] * 5
    assert factor(0, total=1, warmup=0.0, schedule="cosine") == 1.0


@pytest.mark.parametrize("total", [1, 2, 3, 1000])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.99])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_every_step_trains(total, warmup, schedule):
    assert all(0 < rate <= 1 for rate in rates(total=total, warmup=warmup, schedule=schedule))
