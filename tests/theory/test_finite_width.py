"""The chain against its linearisation, and the escapes of the prototype's table."""

import math

import numpy as np
import pytest

from sparsefield.errors import InvalidInput
from sparsefield.theory import finite_width, solve
from sparsefield.theory.chain import simulate
from sparsefield.theory.finite_width import binomial_interval, linear_std


def crelu(clip):
    return solve("crelu", sparsity=0.9, q=1.0, clip=clip).variance_map()


def test_wide_chain_has_the_linearised_spread():
    vmap = crelu(0.8)
    path = simulate(vmap, 1.0, width=2000, depth=30, draws=3000, seed=2)
    late = path[:, 15:].std()
    assert late == pytest.approx(linear_std(vmap, 1.0, 2000), rel=0.04)
    wrong = linear_std(vmap, 1.0, 1000)  # the twin: half the width
    assert late != pytest.approx(wrong, rel=0.04)


@pytest.mark.parametrize(("clip", "low", "high"), [(1.0, 0, 0.01), (1.5, 0.4, 0.62), (2.0, 0.8, 1)])
def test_escapes_grow_with_the_clip(clip, low, high):
    got = finite_width(crelu(clip), 1.0, width=300, depth=100, draws=400)
    assert low <= got.escape_probability <= high
    assert got.draws == 400


def test_the_interval_of_draws_holds_what_the_operator_finds():
    drawn = finite_width(crelu(1.5), 1.0, width=300, depth=100, draws=400)
    low, high = binomial_interval(round(400 * drawn.escape_probability), 400, 1.0 - 1e-5)
    exact, wider = (finite_width(crelu(c), 1.0, width=300, depth=100) for c in (1.5, 2.0))
    assert low < exact.escape_probability < high
    assert not low < wider.escape_probability < high  # the twin: another clip


def test_same_seed_same_path_and_widths_may_vary():
    one = simulate(crelu(1.0), 1.0, width=[7, 9, 7, 9], depth=4, draws=5, seed=3)
    two = simulate(crelu(1.0), 1.0, width=[7, 9, 7, 9], depth=4, draws=5, seed=3)
    np.testing.assert_array_equal(one, two)
    assert one.shape == (5, 4)
    assert (one[:, 0] == 1.0).all()


def test_width_one_and_depth_one_are_allowed():
    assert finite_width(crelu(1.0), 1.0, width=1, depth=1, draws=3).q_std == 0.0


def test_no_contraction_no_stationary_spread():
    vmap = solve("relu", sparsity=0.9, q=1.0).variance_map()
    assert linear_std(vmap, 1.0, 10**6) == math.inf


def test_escape_counts_both_sides_and_the_mean_the_second_half():
    vmap = solve("crelu", sparsity=0.6, q=1.0, clip=1.5).variance_map()  # sigma_b2 < 1/2
    path = simulate(vmap, 1.0, width=20, depth=6, draws=500, seed=4)
    got = finite_width(vmap, 1.0, width=20, depth=6, draws=500, seed=4)
    assert got.q_mean == path[:, 3:].mean()
    assert got.q_std == path[:, 3:].std()
    low, high = (path < 0.5).any(axis=1), (path > 2.0).any(axis=1)
    assert low.any()
    assert (high & ~low).any()
    assert got.escape_probability == (low | high).mean()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"width": 0, "depth": 3}, "width 0: must be"),
        ({"width": 3, "depth": 0}, "depth 0: must be"),
        ({"width": 2.5, "depth": 3}, "width 2.5: must be a whole number"),
        ({"width": float("nan"), "depth": 3}, "width nan: must be a whole number"),
        ({"width": float("inf"), "depth": 3}, "width inf: must be a whole number"),
        ({"width": [3, 4], "depth": 3}, "2 widths for depth 3"),
        ({"width": 3, "depth": 3, "q_star": math.nan}, "q_star nan"),
    ],
)
def test_bad_sizes_are_refused(bad, says):
    with pytest.raises(InvalidInput, match=says):
        simulate(crelu(1.0), **({"q_star": 1.0, "draws": 2} | bad))


def test_a_skip_needs_equal_widths():
    vmap = solve("crelu", sparsity=0.9, q=1.0, clip=1.0).variance_map(skip=0.5)
    assert simulate(vmap, 1.0, width=[10, 10, 10], depth=3, draws=2).shape == (2, 3)
    with pytest.raises(InvalidInput, match="a skip needs equal widths"):
        simulate(vmap, 1.0, width=[10, 10, 11], depth=3, draws=2)


def test_a_network_too_large_to_draw_unasked_is_refused():
    with pytest.raises(InvalidInput, match="width 10000000, depth 100: 20 draws .* give draws="):
        finite_width(crelu(1.0), 1.0, width=10_000_000, depth=100)
    wide = finite_width(crelu(1.0), 1.0, width=100_000, depth=30)
    assert wide.draws == 100
    assert wide.q_std == pytest.approx(linear_std(crelu(1.0), 1.0, 100_000), rel=0.1)
