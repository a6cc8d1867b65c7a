"""The certificate: each number against the map, each verdict and each error met once."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import POINTS, point
from sparsefield.errors import InvalidInput
from sparsefield.theory import VarianceMap, finite_width, solve
from sparsefield.theory import piecewise as pw
from sparsefield.theory.certificate import certify, certify_map, largest_unique_clip
from sparsefield.theory.edge import edge_of_chaos
from sparsefield.theory.smooth import PiecewiseSmooth
from sparsefield.theory.unsolvable import MultipleFixedPoints


def crelu(clip, q=1.0, **more):
    return solve("crelu", sparsity=0.9, q=q, clip=clip, **more)


@pytest.mark.parametrize(
    ("clip", "curvature", "others", "verdict"),
    [
        (0.5, -0.07, [], "stable"),
        (1.0, 0.19, [], "stable"),
        (1.5, 0.60, [], "fragile"),  # unique, and yet half the width-300 networks escape
        (2.0, 0.92, [1.08, 7.71], "fragile"),
    ],
)
def test_prototype_table(clip, curvature, others, verdict):
    got = certify(crelu(clip, q=4.0))
    assert got.curvature == pytest.approx(curvature / 4.0, abs=2e-3)
    assert got.relative_curvature == pytest.approx(curvature, abs=5e-3)
    assert [p.q / 4.0 for p in got.others] == pytest.approx(others, abs=5e-3)
    assert got.verdict == verdict
    assert got.repelling_ratio == (pytest.approx(1.08, abs=5e-3) if others else None)
    assert got.unique == (not others)


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("skip", [0.0, 0.9])
def test_numbers_are_those_of_the_map(name, skip):
    q, h = 2.5, 1e-4
    got, vmap = certify(point(name, q=q), skip), point(name, q=q).variance_map(skip)
    chi1_slope = float(vmap.chi1(q + h) - vmap.chi1(q - h)) / (2 * h)
    assert got.slope == pytest.approx(float(vmap.slope(q)))
    assert got.chi1 == pytest.approx(1.0)
    assert got.chi1_slope == pytest.approx(chi1_slope, rel=1e-6)
    assert got.relative_chi1_slope == pytest.approx(q * chi1_slope, rel=1e-6)
    assert got.kept_above == pytest.approx((float(vmap(2 * q)) - q) / q)
    assert got.kept_below == pytest.approx((q - float(vmap(q / 2))) / (q / 2))
    assert got.asymmetry == pytest.approx(got.kept_above - got.kept_below)
    assert q in got.chi1_q
    assert got.chi1_values == pytest.approx(vmap.chi1(np.array(got.chi1_q)).tolist())
    low, high = max(got.basin[0], q / 8), min(got.basin[1], 8 * q)
    assert (got.chi1_q[0], got.chi1_q[-1]) == pytest.approx((low, high))
    assert list(got.chi1_q) == sorted(got.chi1_q)


@settings(max_examples=30)
@given(c=st.floats(-4, 4).map(lambda e: 10.0**e), clip=st.floats(0.3, 3.0))
def test_scale_identity(c, clip):
    one, scaled = certify(crelu(clip)), certify(crelu(clip, q=c * c))
    for name in ("slope", "relative_curvature", "asymmetry", "relative_chi1_slope", "verdict"):
        a, b = getattr(one, name), getattr(scaled, name)
        assert a == b or a == pytest.approx(b, rel=1e-9, abs=1e-11)
    assert scaled.curvature * c * c == pytest.approx(one.curvature, rel=1e-9, abs=1e-11)
    assert scaled.chi1_slope * c * c == pytest.approx(one.chi1_slope, rel=1e-9)
    assert len(one.fixed_points) == len(scaled.fixed_points)


def test_a_straight_line_is_symmetric():
    vmap = VarianceMap(pw.leaky_relu(0.3), 0.8, 0.7)
    q = float(0.7 / (1.0 - 0.8 * (1.0 + 0.09) / 2.0))
    got = certify_map(vmap, q)
    assert got.asymmetry == pytest.approx(0.0, abs=1e-12)
    assert got.kept_above == pytest.approx(got.slope)
    assert got.verdict == "stable"


def test_asymmetry_has_the_sign_and_size_of_the_curvature():
    """(V(q* + d) - q*) / d - (q* - V(q* - e)) / e = V'' (d + e) / 2 for a parabola."""
    got = certify(crelu(1.0))
    assert got.asymmetry == pytest.approx(got.relative_curvature * 0.75, rel=0.5)
    assert certify(crelu(0.5)).asymmetry < 0.0


@pytest.mark.parametrize("name", ["relu 90%", "st 80%"])
def test_unclipped_families_are_fragile_from_above(name):
    got = certify(point(name))
    assert (got.verdict, got.repelling, got.repelling_ratio) == ("fragile", 1.0, 1.0)
    assert got.reasons[0] == "V'(q*) = 1: the variance runs away from q* from above"
    assert "q* itself" in str(got)
    assert got.chi1_q[-1] == 1.0  # the basin ends at q*


def test_he_initialisation_keeps_and_restores_nothing():
    got = certify(solve("relu", sparsity=0.5, q=2.0))
    assert got.identity
    assert (got.verdict, got.repelling) == ("fragile", None)
    assert got.chi1_q == (2.0,)
    with pytest.raises(MultipleFixedPoints, match="every variance.*use crelu with a clip"):
        got.require_unique()


def test_a_map_that_repels_is_unstable():
    vmap = VarianceMap(pw.relu(), 2.4, 0.0)
    vmap = VarianceMap(pw.shifted_relu(1.0), vmap.sigma_w2 * 20.0, 0.0)
    q = 10.0 ** _root(lambda e: float(vmap(10.0**e)) / 10.0**e - 1.0, -1.5, 1.0)
    got = certify_map(vmap, q)
    assert got.verdict == "unstable"
    assert got.basin == (q, q)
    assert got.reasons[0].startswith("V'(q*) = ")
    assert certify(crelu(1.0)).verdict == "stable"


def _root(f, low, high):
    for _ in range(200):
        middle = (low + high) / 2.0
        low, high = (middle, high) if f(low) * f(middle) > 0.0 else (low, middle)
    return low


def test_a_small_basin_below_is_fragile():
    """Two stable points: seen from the upper one, the repelling one lies below."""
    three = crelu(1.8)
    upper = three.fixed_points[-1].q
    got = certify_map(three.variance_map(), upper)
    assert got.basin[0] == pytest.approx(three.fixed_points[1].q)
    assert 0.0 < got.repelling_ratio < 1.0
    middle = certify_map(three.variance_map(), three.fixed_points[1].q)
    assert middle.verdict == "unstable"


def test_a_far_point_is_told_but_no_weakness():
    got = certify(crelu(1.6))
    weaker = certify_map(crelu(1.6).variance_map(), got.fixed_points[-1].q)
    assert weaker.repelling_ratio == pytest.approx(got.fixed_points[1].q / weaker.q)
    assert any(reason.startswith("other fixed points: ") for reason in weaker.reasons)


def test_a_skip_keeps_fixed_points_and_the_verdict():
    for clip in (0.5, 1.0, 1.5, 2.0):
        plain, skipped = certify(crelu(clip)), certify(crelu(clip), skip=0.9)
        assert skipped.verdict == plain.verdict
        assert [p.q for p in skipped.fixed_points] == pytest.approx(
            [p.q for p in plain.fixed_points], rel=1e-8
        )
        assert skipped.slope == pytest.approx(0.9 + 0.1 * plain.slope)
        assert skipped.asymmetry == pytest.approx(0.1 * plain.asymmetry)
    assert "alpha^2" in str(skipped)


def test_the_width_makes_a_point_fragile():
    p = crelu(1.25)
    assert certify(p).verdict == "stable"
    wide, narrow = certify(p, width=2000), certify(p, width=100)
    assert (wide.verdict, narrow.verdict) == ("stable", "fragile")
    assert narrow.q_std == pytest.approx(finite_width_std(p, 100))
    assert "at this width Q wanders by 0.298 q* (std)" in narrow.reasons[0]
    assert "std(Q), 100" in str(narrow)


def finite_width_std(p, width):
    from sparsefield.theory.finite_width import linear_std

    return linear_std(p.variance_map(), p.q, width)


@pytest.mark.parametrize(("clip", "width"), [(0.9, 300), (0.6, 150), (1.2, 600)])
def test_what_is_stable_at_a_width_seldom_escapes_there(clip, width):
    p = crelu(clip)
    assert certify(p, width=width).verdict == "stable"
    seen = finite_width(p.variance_map(), 1.0, width=width, depth=100, draws=200)
    assert seen.escape_probability < 0.02


def test_and_what_is_fragile_does():
    p = crelu(1.4)
    assert certify(p, width=200).verdict == "fragile"
    seen = finite_width(p.variance_map(), 1.0, width=200, depth=100, draws=200)
    assert seen.escape_probability > 0.1


def test_chi1_off_the_edge_is_told():
    got = certify(crelu(1.0, chi1=1.1))
    assert got.reasons[-1] == "chi_1(q*) = 1.1: squared gradients grow by that a layer"
    assert certify(crelu(1.0, chi1=0.9)).reasons[-1].endswith("shrink by that a layer")


def test_more_than_one_fixed_point_names_the_others_and_the_clip():
    with pytest.raises(MultipleFixedPoints) as caught:
        certify(crelu(2.0, q=4.0)).require_unique()
    text = str(caught.value)
    assert "4.33" in text
    assert "(repels)" in text
    assert "30.8" in text
    assert "(stable)" in text
    assert "lower the clip 2 to 1.52 or less" in text
    assert certify(crelu(1.51)).require_unique().unique
    own = VarianceMap(crelu(2.0).phi, crelu(2.0).sigma_w2, crelu(2.0).sigma_b2)
    with pytest.raises(MultipleFixedPoints, match="clip phi lower, or lower sigma_w2"):
        certify_map(own, 1.0).require_unique()


@pytest.mark.parametrize(("family", "s"), [("crelu", 0.9), ("crelu", 0.7), ("cst", 0.9)])
def test_the_largest_unique_clip_is_the_edge(family, s):
    clip = largest_unique_clip(family, sparsity=s)
    assert solve(family, sparsity=s, clip=0.995 * clip).unique
    assert not solve(family, sparsity=s, clip=1.005 * clip).unique


def test_two_sided_is_one_sided_with_half_the_zeros_off():
    """cst at s has the threshold of crelu at (1 + s) / 2, and the map differs by a factor."""
    one = largest_unique_clip("crelu", sparsity=0.95)
    assert largest_unique_clip("cst", sparsity=0.9) == pytest.approx(one, rel=2e-3)


def test_no_clip_is_too_large_where_v_is_concave():
    assert largest_unique_clip("crelu", sparsity=0.3) is None


@pytest.mark.parametrize("name", POINTS)
def test_strict_json_and_a_readable_page(name):
    got = certify(point(name))
    data = json.loads(json.dumps(got.to_dict(), allow_nan=False))
    assert data["basin"][0] == 0.0
    assert data["verdict"] == got.verdict
    assert data["fixed_points"][0].keys() == {"q", "slope", "stable"}
    page = str(got).splitlines()
    assert {len(line[:28]) for line in page} == {28}
    assert all(line[27] == " " for line in page)
    assert page[-1].strip() in got.reasons
    with pytest.raises(AttributeError):
        got.verdict = "stable"


def test_an_endless_basin_is_null():
    assert certify(crelu(1.0)).to_dict()["basin"] == [0.0, None]


def test_an_activation_of_ones_own():
    got = certify_map(edge_of_chaos(PiecewiseSmooth(np.tanh), 0.5), 0.5)
    assert got.unique
    assert got.verdict == "stable"
    assert got.curvature < 0.0  # an excess leaves faster: saturating
    same = PiecewiseSmooth(crelu(1.0).phi, kinks=crelu(1.0).phi.knots)
    mine, theirs = certify_map(edge_of_chaos(same, 1.0), 1.0), certify(crelu(1.0))
    assert mine.relative_curvature == pytest.approx(theirs.relative_curvature, rel=1e-9)
    assert mine.chi1_slope == pytest.approx(theirs.chi1_slope, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: certify(crelu(1.0), skip=1.0), "skip 1.0"),
        (lambda: certify(crelu(1.0), width=0), "width 0: must be a whole number"),
        (lambda: certify(crelu(1.0), skip=0.5, width=100), "width 100 with skip 0.5"),
        (lambda: certify_map(crelu(1.0).variance_map(), 1.1), r"V\(1.1\) = .*edge_of_chaos"),
        (lambda: certify_map(crelu(1.0).variance_map(), math.nan), "q nan"),
        (lambda: certify_map(VarianceMap(pw.crelu([1.0, 2.0], 1.0), 1.0, 0.1), 1.0), "batch"),
        (lambda: largest_unique_clip("gelu", sparsity=0.9), "family 'gelu' is unknown"),
        (lambda: largest_unique_clip("relu", sparsity=0.9), "has no clip"),
    ],
)
def test_bad_input_is_one_clear_error(make, says):
    with pytest.raises(InvalidInput, match=says):
        make()
