"""solve(): exact over the whole range, faithful to the prototype's table, clear when it cannot."""

import contextlib
import json
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cases import POINTS, point
from sparsefield.errors import InvalidInput, SparsefieldError
from sparsefield.theory import NegativeBiasVariance, NotConverged, Unstable, solve
from sparsefield.theory.families import FAMILIES
from sparsefield.theory.roots import bracketed_root

from . import reference

RTOL = 1e-10
sparsities = st.one_of(st.floats(1e-6, 1 - 1e-6), st.floats(-12, -1).map(lambda e: 1.0 - 10.0**e))
variances = st.floats(-12, 12).map(lambda e: 10.0**e)
clips = st.floats(-9, 9).map(lambda e: 10.0**e)


def exact_point(family, sparsity, q, clip, chi1=1.0):
    """(tau, sigma_w2, sigma_b2, slope, curvature) in arbitrary precision."""
    q = mp.mpf(q)
    tau = reference.threshold(family, sparsity) * mp.sqrt(q)
    m = mp.inf if clip is None else mp.mpf(clip) * mp.sqrt(q)
    phi = reference.OneSided(tau, m, 2 if FAMILIES[family].two_sided else 1)
    sigma_w2 = chi1 / phi.active(q)
    sigma_b2 = q - sigma_w2 * phi.second_moment(q)
    return tau, sigma_w2, sigma_b2, sigma_w2 * phi.slope(q), sigma_w2 * phi.curvature(q)


@given(family=st.sampled_from(sorted(FAMILIES)), s=sparsities, q=variances, clip=clips)
def test_solution_matches_mpmath(ledger, family, s, q, clip):
    clip = clip if FAMILIES[family].clipped else None
    try:
        got = solve(family, sparsity=s, q=q, clip=clip)
    except NegativeBiasVariance:
        with mp.workdps(reference.DIGITS):
            assert exact_point(family, s, q, clip)[2] < 0
        return
    with mp.workdps(reference.DIGITS):
        tau, sigma_w2, sigma_b2, slope, curvature = exact_point(family, s, q, clip)
        assert abs(got.tau - tau) <= RTOL * abs(tau)
        assert abs(got.sigma_w2 - sigma_w2) <= RTOL * sigma_w2
        # V' and V'' may cross zero where tau < 0, sigma_b2 where s = 1/2: scales chi1, 1/q and q
        crosses = 0.0 if s > 0.5 or FAMILIES[family].two_sided else 1.0
        assert abs(got.slope - slope) <= RTOL * max(abs(slope), crosses)
        assert abs(got.curvature - curvature) <= RTOL * max(abs(curvature), 1.5 * abs(slope) / q)
        assert abs(got.sigma_b2 - sigma_b2) <= RTOL * sigma_b2 + 2e-13 * q
        pairs = (got.tau, tau, 0), (got.sigma_w2, sigma_w2, 0), (got.slope, slope, crosses)
        ledger.record("solve", max(reference.relative(*pair) for pair in pairs), n=3)
        ledger.record("solve", reference.relative(got.curvature, curvature, 1.5 * abs(slope) / q))
        ledger.record("solve", reference.relative(got.sigma_b2, sigma_b2, scale=q))


@pytest.mark.parametrize(
    ("clip", "sigma_w2", "sigma_b2", "slope", "curvature", "others"),
    [
        (0.5, 15.977, 0.783, 0.348, -0.07, []),
        (1.0, 11.269, 0.671, 0.667, 0.19, []),
        (1.5, 10.278, 0.625, 0.872, 0.60, []),
        (2.0, 10.052, 0.611, 0.963, 0.92, [1.08, 7.71]),
    ],
)
def test_prototype_table(clip, sigma_w2, sigma_b2, slope, curvature, others):
    got = solve("crelu", sparsity=0.9, q=1.0, clip=clip)
    assert got.sigma_w2 == pytest.approx(sigma_w2, abs=5e-4)
    assert got.sigma_b2 == pytest.approx(sigma_b2, abs=5e-4)
    assert got.slope == pytest.approx(slope, abs=5e-4)
    assert got.curvature == pytest.approx(curvature, abs=5e-3)
    assert [p.q for p in got.fixed_points if p.q != 1.0] == pytest.approx(others, abs=5e-3)
    assert got.unique == (not others)


@given(name=st.sampled_from(sorted(POINTS)), c=st.floats(-5, 5).map(lambda e: 10.0**e))
def test_scale_identity(ledger, name, c):
    one, scaled = point(name), point(name, q=c * c)
    assert scaled.sigma_w2 == pytest.approx(one.sigma_w2, rel=1e-12)
    assert scaled.slope == pytest.approx(one.slope, rel=1e-12)
    assert scaled.tau == pytest.approx(c * one.tau, rel=1e-12)
    assert scaled.sigma_b2 == pytest.approx(c * c * one.sigma_b2, rel=1e-12)
    assert scaled.curvature == pytest.approx(one.curvature / (c * c), rel=1e-12)
    ends = [p.q * c * c for p in one.fixed_points]
    assert [p.q for p in scaled.fixed_points] == pytest.approx(ends, rel=1e-10)
    ratios = [
        scaled.sigma_w2 / one.sigma_w2,
        scaled.slope / one.slope,
        scaled.tau / (c * one.tau),
        scaled.sigma_b2 / (c * c * one.sigma_b2),
        scaled.curvature / (one.curvature / (c * c)),
        *(p.q / end for p, end in zip(scaled.fixed_points, ends, strict=True)),
    ]
    ledger.record("scale_identity", max(abs(ratio - 1.0) for ratio in ratios), n=len(ratios))


@given(s=st.floats(0.55, 0.999), clip=st.floats(0.05, 4.0), q=st.floats(0.1, 10.0))
def test_clip_m_and_slope_name_the_same_point(s, clip, q):
    by_clip = solve("crelu", sparsity=s, q=q, clip=clip)
    by_m = solve("crelu", sparsity=s, q=q, m=by_clip.m)
    assert by_m.sigma_w2 == pytest.approx(by_clip.sigma_w2, rel=1e-12)
    assume(by_clip.slope < 0.999)  # beyond, the clip hardly moves V'
    by_slope = solve("crelu", sparsity=s, q=q, slope=by_clip.slope)
    assert by_slope.clip == pytest.approx(clip, rel=1e-6)
    assert by_slope.slope == pytest.approx(by_clip.slope, rel=1e-12)


@pytest.mark.parametrize("name", POINTS)
def test_q_star_is_fixed_and_chi1_is_one(name):
    got = point(name, q=2.5)
    vmap = got.variance_map()
    assert float(vmap(2.5)) == pytest.approx(2.5, rel=1e-13)
    assert float(vmap.chi1(2.5)) == pytest.approx(1.0, rel=1e-13)
    assert float(vmap.sparsity(2.5)) == pytest.approx(got.sparsity, rel=1e-13)


@given(skip=st.floats(0.0, 0.99), name=st.sampled_from(sorted(POINTS)))
def test_skip_keeps_the_fixed_point(skip, name):
    got = point(name, q=3.0)
    plain, skipped = got.variance_map(), got.variance_map(skip)
    assert float(skipped(3.0)) == pytest.approx(3.0, rel=1e-12)
    assert float(skipped.chi1(3.0)) == pytest.approx(1.0, rel=1e-12)
    mixed = skip + (1 - skip) * float(plain.slope(3.0))
    assert float(skipped.slope(3.0)) == pytest.approx(mixed, rel=1e-12)


def test_prints_as_a_table_and_as_strict_json():
    got = solve("crelu", sparsity=0.9, q=4.0, clip=2.0)
    table = str(got)
    assert "V'(q*)" in table
    assert "repels" in table
    assert json.loads(json.dumps(got.to_dict(), allow_nan=False))["basin"][1] < 5.0
    endless = solve("crelu", sparsity=0.9, q=4.0, clip=1.0).to_dict()
    assert endless["basin"] == [0.0, None]
    with pytest.raises(AttributeError):
        got.q = 1.0


def test_relu_at_half_sparsity_is_he_initialisation():
    got = solve("relu", sparsity=0.5, q=2.0)
    assert (got.tau, got.sigma_b2) == (0.0, 0.0)
    assert got.sigma_w2 == pytest.approx(2.0, rel=1e-13)
    assert got.basin == (2.0, 2.0)
    assert not got.unique


def test_near_the_linear_limit_only_q_star_is_reported():
    got = solve("cst", sparsity=1e-9, q=1.0, clip=0.7)
    assert math.isfinite(got.sigma_w2)
    assert [p.q for p in got.fixed_points] == [1.0]


CRELU = {"family": "crelu", "sparsity": 0.9}


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (CRELU | {"sparsity": 1.0, "clip": 1.0}, InvalidInput, r"sparsity 1.0.*\(0, 1\)"),
        (CRELU | {"sparsity": 0.0, "clip": 1.0}, InvalidInput, "sparsity 0.0"),
        (CRELU | {"sparsity": math.nan, "clip": 1.0}, InvalidInput, "sparsity nan"),
        (CRELU, InvalidInput, "nothing given for crelu: give exactly one"),
        (CRELU | {"clip": 1.0, "m": 1.0}, InvalidInput, "clip 1 and m 1 given"),
        (CRELU | {"clip": -1.0}, InvalidInput, "clip -1.0"),
        (CRELU | {"clip": math.inf}, InvalidInput, "clip inf: must be finite"),
        (CRELU | {"slope": 1.5}, InvalidInput, "slope 1.5: V'.* lies between"),
        (CRELU | {"slope": -0.5}, InvalidInput, "slope -0.5"),
        (CRELU | {"clip": 1.0, "q": 0.0}, InvalidInput, "q 0.0"),
        (CRELU | {"clip": 1.0, "chi1": -1.0}, InvalidInput, "chi1 -1.0"),
        ({"family": "gelu", "sparsity": 0.9}, InvalidInput, "family 'gelu' is unknown"),
        ({"family": "relu", "sparsity": 0.9, "clip": 1.0}, InvalidInput, "has no clip"),
        ({"family": "relu", "sparsity": 0.3}, NegativeBiasVariance, "sigma_b2 = -.*raise the"),
        (CRELU | {"clip": 3.0, "chi1": 1.2}, Unstable, "repels"),
    ],
)
def test_errors_name_value_rule_and_remedy(arguments, error, says):
    with pytest.raises(error, match=says):
        solve(**arguments)


def test_an_unconverged_root_is_an_error():
    assert bracketed_root(np.cos, 0.0, 3.0, what="zero of cos") == pytest.approx(np.pi / 2)
    with pytest.raises(NotConverged, match="zero of cos: not converged .* after 2 steps"):
        bracketed_root(np.cos, 0.0, 3.0, what="zero of cos", max_iter=2)


@given(
    family=st.sampled_from(sorted(FAMILIES)),
    s=st.one_of(sparsities, st.sampled_from([0.5, 1e-10, 0.4999999999999979])),
    clip=st.one_of(clips, st.floats(3, 200)),
)
def test_nothing_but_our_own_errors(family, s, clip):
    with contextlib.suppress(SparsefieldError):
        solve(family, sparsity=s, clip=clip if FAMILIES[family].clipped else None)


@pytest.mark.parametrize("cast", [np.float32, np.float64, int, np.array])
def test_numpy_numbers_do_not_degrade_the_result(cast):
    got = solve("crelu", sparsity=0.9, q=cast(4), clip=cast(1), chi1=cast(1))
    assert got == solve("crelu", sparsity=0.9, q=4.0, clip=1.0)
    assert all(isinstance(p.q, float) for p in got.fixed_points)
    json.dumps(got.to_dict())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"sparsity": None, "clip": 1.0}, "sparsity None: must be one real number"),
        ({"sparsity": 0.9, "clip": 5e-324}, "underflows"),
        ({"sparsity": 0.9, "clip": 1e308}, r"clip 1e\+308"),
        ({"sparsity": 0.9, "m": 1e308, "q": 1e-12}, r"m / sqrt\(q\)"),
        ({"sparsity": 0.9, "slope": math.nan}, "slope nan: must be finite"),
    ],
)
def test_numbers_that_double_precision_cannot_hold(arguments, says):
    with pytest.raises(InvalidInput, match=says):
        solve("crelu", **arguments)


@pytest.mark.parametrize("name", POINTS)
def test_curvature_of_a_skip_is_the_derivative_of_its_slope(name):
    vmap, step = point(name).variance_map(skip=0.6), 1e-4
    want = (vmap.slope(1.2 + step) - vmap.slope(1.2 - step)) / (2 * step)
    assert float(vmap.curvature(1.2)) == pytest.approx(float(want), rel=1e-5, abs=1e-6)
