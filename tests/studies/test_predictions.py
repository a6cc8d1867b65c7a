"""What theory predicts of a run before it starts."""

import math

import pytest

from sparsefield.studies.predictions import INPUTS, predicted
from sparsefield.theory import solve
from sparsefield.theory.finite_width import finite_width
from sparsefield.theory.gradients import gradient_rates
from sparsefield.train import TrainConfig


def config(**fields):
    network = {"sparsity": 0.8, "q": 4.0, "clip": 1.0, "width": 50, "depth": 10}
    return TrainConfig(**{**network, **fields}).model_dump()


def test_inputs_come_close_as_the_correlation_map_says():
    point = solve("crelu", sparsity=0.8, q=4.0, clip=1.0)
    first = point.sigma_b2 / 4.0 + (1.0 - point.sigma_b2 / 4.0) * INPUTS
    last = point.variance_map().correlation(4.0).iterate_deficit(1.0 - first, 10)[-1]
    assert predicted("contraction", config()) == pytest.approx(last, rel=1e-9)
    assert predicted("contraction", config(depth=11)) < 0.95 * last


def test_contraction_is_slower_by_the_share_of_the_skip():
    plain = predicted("contraction", config(depth=11))
    skipping = predicted("contraction", config(depth=101, skip=0.9))
    assert skipping == pytest.approx(plain, rel=0.35)
    assert predicted("contraction", config(depth=101)) != pytest.approx(plain, rel=0.35)


def test_noise_is_that_of_the_rates_where_these_hold():
    point = solve("crelu", sparsity=0.5, q=4.0, clip=1.0)
    variance = gradient_rates(point.variance_map(), 4.0, 400).variance
    found = predicted("noise", config(sparsity=0.5, width=400, depth=21))
    assert found == pytest.approx(math.sqrt(20 * variance), rel=0.25)  # 200 draws: 7 % of sd
    other = predicted("noise", config(sparsity=0.5, width=100, depth=21))
    assert other != pytest.approx(math.sqrt(20 * variance), rel=0.25)


def test_no_prediction_where_theory_has_none():
    for name in ("contraction", "noise", "escape"):
        assert predicted(name, config(network="cnn", data="cifar10")) is None
        assert predicted(name, config(init="torch")) is None
        assert predicted(name, config()) is not None  # the twin


def test_noise_is_infinite_where_no_gradient_passes():
    assert predicted("noise", config(sparsity=0.99, width=5, depth=30)) == math.inf


def test_the_escape_is_that_of_the_law_at_this_width():
    point = solve("crelu", sparsity=0.8, q=4.0, clip=1.0)
    law = finite_width(point.variance_map(), 4.0, width=50, depth=10)
    assert predicted("escape", config()) == law.escape_probability
    assert predicted("escape", config(width=60)) < law.escape_probability
