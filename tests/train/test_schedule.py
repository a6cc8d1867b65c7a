from itertools import pairwise

import pytest

from sparsefield.train.schedule import factor


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
