"""Every fixed point is found, judged rightly, and the basin is where iteration says it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import POINTS, point
from sparsefield.theory import FixedPoint, VarianceMap, solve
from sparsefield.theory import piecewise as pw
from sparsefield.theory.fixed_points import portrait

clipped = st.builds(
    lambda family, s, clip: solve(family, sparsity=s, q=1.0, clip=clip),
    st.sampled_from(["crelu", "cst"]),
    st.floats(0.55, 0.995),
    st.floats(0.1, 4.0),
)


@given(clipped)
def test_no_fixed_point_is_missed_or_invented(ledger, point):
    vmap = point.variance_map()
    for found in point.fixed_points:
        assert float(vmap(found.q)) == pytest.approx(found.q, rel=1e-9)
        ledger.record("fixed_points", float(vmap(found.q)) / found.q - 1.0)
    top = 1.01 * float(point.sigma_b2 + point.sigma_w2 * point.m**2)
    q = np.geomspace(0.99 * point.sigma_b2, top, 4001)
    q = q[np.abs(q - 1.0) > 2e-3]  # beside q* the sign is rounding
    signs = np.sign(vmap(q) - q)
    crossings = np.flatnonzero(signs[:-1] != signs[1:])
    roots = np.array([p.q for p in point.fixed_points])
    for i in crossings:
        assert ((roots >= q[i]) & (roots <= q[i + 1])).any()
    assert len(crossings) <= len(roots)


@given(clipped, st.floats(-1.0, 1.0))
def test_iteration_agrees_with_the_basin(point, start):
    vmap, q0 = point.variance_map(), 10.0**start
    low, high = point.basin
    edges = np.array([p.q for p in point.fixed_points])
    if (np.abs(q0 / edges - 1.0) < 0.02).any() or point.slope > 0.97:
        return  # too slow to tell in the steps below
    q, before = q0, np.inf
    for _ in range(3000):
        if abs(q - before) < 1e-14 * q:
            break
        q, before = float(vmap(q)), q
    assert (abs(q - 1.0) < 1e-3) == (low < q0 < high)


@pytest.mark.parametrize(
    ("family", "s", "clip"),
    [("crelu", 0.9, 5.0), ("crelu", 0.9, 5.5), ("cst", 0.9, 4.0), ("cst", 0.85, 5.0)],
)
def test_a_repelling_point_beside_q_star_ends_the_basin(family, s, clip):
    point = solve(family, sparsity=s, q=1.0, clip=clip)
    assert len(point.fixed_points) == 3
    assert 1.0 < point.basin[1] < 1.001
    q, vmap = 1.001, point.variance_map()
    for _ in range(40_000):
        q = float(vmap(q)) if q < 2.0 else q
    assert q > 2.0


def test_stability_follows_the_slope():
    three = solve("crelu", sparsity=0.9, q=1.0, clip=2.0).fixed_points
    assert [p.stable for p in three] == [True, False, True]
    for p in three:
        assert p.stable == (abs(p.slope) < 1)


def test_unclipped_edge_of_chaos_attracts_from_below_only():
    got = solve("relu", sparsity=0.9, q=1.0)
    assert got.basin == (0.0, 1.0)
    assert not got.fixed_points[0].stable
    vmap = got.variance_map()
    assert float(vmap(1.1)) > 1.1  # runs away above
    assert 0.9 < float(vmap(0.9)) < 1.0  # creeps up from below


def test_a_close_pair_inside_one_grid_cell_is_found():
    clips = np.linspace(1.5, 1.65, 31)  # the pair is born within this range
    counts = [len(solve("crelu", sparsity=0.9, q=1.0, clip=c).fixed_points) for c in clips]
    assert counts[0] == 1
    assert counts[-1] == 3
    assert counts == sorted(counts)


def test_decreasing_map_gets_its_basin_by_iteration():
    vmap = VarianceMap(pw.crelu(-2.0, 2.2), 0.3, 0.2)
    q = 1.0
    for _ in range(500):
        q = float(vmap(q))
    assert float(vmap.slope(q)) < 0.0
    got = portrait(vmap, q)
    assert got.basin[0] < q < got.basin[1]


def test_hard_tanh_without_bias_is_drawn_to_zero_at_the_edge():
    vmap = VarianceMap(pw.hard_tanh(1.0), 2.0, 0.0)
    q = 1.0
    for _ in range(2000):
        q = float(vmap(q))
    assert [p.q for p in portrait(vmap, q).points] == pytest.approx([q])


@pytest.mark.parametrize("name", POINTS)
def test_slope_and_curvature_are_derivatives_of_the_map(name):
    vmap = point(name).variance_map()
    q, step = np.array([0.4, 1.0, 2.3]), 1e-4
    slope = (vmap(q + step) - vmap(q - step)) / (2 * step)
    curvature = (vmap.slope(q + step) - vmap.slope(q - step)) / (2 * step)
    np.testing.assert_allclose(vmap.slope(q), slope, rtol=1e-6)
    np.testing.assert_allclose(vmap.curvature(q), curvature, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("slope", "kind"),
    [(0.9, "stable"), (-0.9, "stable"), (1.0, "marginal"), (1.1, "repels"), (-1.1, "repels")],
)
def test_the_kind_of_a_fixed_point(slope, kind):
    found = FixedPoint(2.0, slope, abs(slope) < 1.0)
    assert found.kind == kind
    assert found.to_dict() == {"q": 2.0, "slope": slope, "stable": kind == "stable"}
