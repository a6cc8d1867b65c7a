"""What theory predicts of an arm, and pairs of arms of which it predicts the same."""

import math

import pytest

from sparsefield.studies.arms import arms
from sparsefield.studies.matching import (
    at_equal,
    at_equal_depth,
    gained,
    settings,
    widest,
)
from sparsefield.studies.predictions import INPUTS, predicted
from sparsefield.theory import solve
from sparsefield.theory.gradients import gradient_rates
from sparsefield.train import TrainConfig

DEPTHS, SKIPS = (5, 10, 50, 100), (0.0, 0.9)


def config(**fields):
    network = {"sparsity": 0.8, "q": 4.0, "clip": 1.0, "width": 50, "depth": 10}
    return TrainConfig(**{**network, **fields}).model_dump()


def test_inputs_come_close_as_the_correlation_map_says():
    point = solve("crelu", sparsity=0.8, q=4.0, clip=1.0)
    first = point.sigma_b2 / 4.0 + (1.0 - point.sigma_b2 / 4.0) * INPUTS
    last = point.variance_map().correlation(4.0).iterate_deficit(1.0 - first, 10)[-1]
    assert predicted(config()).apart == pytest.approx(last, rel=1e-9)
    assert predicted(config(depth=11)).apart < 0.95 * last


def test_contraction_is_slower_by_the_share_of_the_skip():
    plain, skipping = predicted(config(depth=11)), predicted(config(depth=101, skip=0.9))
    assert skipping.apart == pytest.approx(plain.apart, rel=0.35)
    assert predicted(config(depth=101)).apart != pytest.approx(plain.apart, rel=0.35)


def test_noise_is_that_of_the_rates_where_these_hold():
    point = solve("crelu", sparsity=0.5, q=4.0, clip=1.0)
    variance = gradient_rates(point.variance_map(), 4.0, 400).variance
    found = predicted(config(sparsity=0.5, width=400, depth=21)).noise
    assert found == pytest.approx(math.sqrt(20 * variance), rel=0.25)  # 200 draws: 7 % of sd
    other = predicted(config(sparsity=0.5, width=100, depth=21)).noise
    assert other != pytest.approx(math.sqrt(20 * variance), rel=0.25)


def test_no_prediction_where_theory_has_none():
    assert predicted(config(network="cnn", data="cifar10")) is None
    assert predicted(config(init="torch")) is None


def test_noise_is_infinite_where_no_gradient_passes():
    assert predicted(config(sparsity=0.99, width=5, depth=30)).noise == math.inf


@pytest.fixture
def grid(invented):
    fields = [
        {"depth": depth, "skip": skip, "width": width, "sparsity": 0.8, "clip": 1.0}
        for width in (50, 80)
        for depth in DEPTHS
        for skip in SKIPS
        if width == 50 or depth == 10
    ]
    record = invented(fields, lambda c, seed: {"test_accuracy": c["depth"] / 200 + c["skip"] / 10})
    return settings(arms(record))


def test_a_setting_holds_what_differs_in_depth_and_skip(grid):
    assert [len(group) for group in grid] == [8, 2]
    assert {point.arm["width"] for point in grid[0]} == {50}


def test_pairs_at_equal_depth(grid):
    pairs = at_equal_depth(grid[0])
    assert [(p.plain.depth, p.skipping.depth) for p in pairs] == [(d, d) for d in DEPTHS]
    assert gained(pairs).estimate == pytest.approx(0.09)


def test_pairs_at_equal_contraction(grid):
    pairs = at_equal(lambda point: point.prediction.apart, grid[0])
    assert [(p.plain.depth, p.skipping.depth) for p in pairs] == [(5, 50), (10, 100)]
    assert gained(pairs).estimate == pytest.approx(0.09 + (45 + 90) / 400)


def test_nothing_agrees_with_what_is_not_positive(grid):
    assert not at_equal(lambda point: 0.0, grid[0])
    assert not at_equal(lambda point: math.inf, grid[0])


def test_pairs_that_differ_in_width(grid):
    found = [(a.arm["width"], b.arm["width"], a.depth, a.skip) for a, b in widest(grid)]
    assert found == [(50, 80, 10, 0.0), (50, 80, 10, 0.9)]
    assert all(a.prediction.apart == b.prediction.apart for a, b in widest(grid))
    assert all(a.prediction.noise > b.prediction.noise for a, b in widest(grid))


@pytest.mark.parametrize(("steps", "widths"), [(1000, (40, 120)), (2000, (40, 80))])
def test_each_arm_is_in_one_pair_of_widths_and_of_one_budget(invented, steps, widths):
    network = {"depth": 10, "sparsity": 0.8, "clip": 1.0}
    fields = [
        {**network, "width": width, "steps": steps if width == 120 else 1000}
        for width in (80, 40, 120)
    ]
    groups = settings(arms(invented(fields, lambda c, seed: {"test_accuracy": 0.5})))
    ((narrow, wide),) = widest(groups)
    assert (narrow.arm["width"], wide.arm["width"]) == widths
