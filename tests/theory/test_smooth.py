"""Activations from Python functions: exact where smooth, caught where not, never trusted."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from cases import ACTIVATIONS
from sparsefield.errors import InvalidInput
from sparsefield.theory import VarianceMap, gaussian
from sparsefield.theory import piecewise as pw
from sparsefield.theory.edge import edge_of_chaos
from sparsefield.theory.fixed_points import portrait
from sparsefield.theory.smooth import PiecewiseSmooth

from . import reference
from .smooth_cases import SMOOTH

MOMENTS = {
    "second moment": gaussian.second_moment,
    "gain": gaussian.gain,
    "slope": gaussian.second_moment_slope,
    "curvature": gaussian.second_moment_curvature,
    "fourth moment": gaussian.fourth_moment,
}


smooth = pytest.mark.parametrize("name", SMOOTH)


def by_mpmath(exact, q):
    """(E phi^2, E phi'^2, d E phi^2 / dq) with 25 digits, cut at zero."""
    root = mp.sqrt(mp.mpf(q))
    density = lambda z: mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)  # noqa: E731
    cuts = [-14, -6, -2, -0.5, 0, 0.5, 2, 6, 14]

    def mean(f):
        return mp.quad(lambda z: f(root * z, z) * density(z), cuts)

    second = mean(lambda x, z: exact(x) ** 2)
    slope = mean(lambda x, z: (z * z - 1) * exact(x) ** 2) / (2 * mp.mpf(q))
    gain = mean(lambda x, z: mp.diff(exact, x) ** 2)
    return second, gain, slope


@smooth
@pytest.mark.parametrize("q", [0.04, 1.0, 9.0])
def test_moments_match_mpmath(ledger, name, q):
    f, exact = SMOOTH[name]
    phi = PiecewiseSmooth(f)
    with mp.workdps(25):
        second, gain, slope = by_mpmath(exact, q)
    assert float(gaussian.second_moment(phi, q)) == pytest.approx(float(second), rel=1e-12)
    assert float(gaussian.gain(phi, q)) == pytest.approx(float(gain), rel=1e-11)
    assert float(gaussian.second_moment_slope(phi, q)) == pytest.approx(float(slope), rel=1e-10)
    for moment, want in (("second moment", second), ("gain", gain), ("slope", slope)):
        ledger.record("smooth_moments", reference.relative(MOMENTS[moment](phi, q), want))


@given(q=st.floats(-6, 6).map(lambda e: 10.0**e))
def test_erf_is_the_arcsine_kernel(q):
    """E[erf(x)^2] = (2 / pi) asin(2 q / (1 + 2 q)); E[erf'^2] = (4 / pi) / sqrt(1 + 4 q)."""
    phi = ERF
    second = 2.0 / math.pi * math.atan2(2.0 * q, math.sqrt(1.0 + 4.0 * q))
    assert float(gaussian.second_moment(phi, q)) == pytest.approx(second, rel=1e-11)
    gain = 4.0 / math.pi / math.sqrt(1.0 + 4.0 * q)
    assert float(gaussian.gain(phi, q)) == pytest.approx(gain, rel=1e-10)


ERF = PiecewiseSmooth(erf)


# the library's own wide hard tanh rounds 1e6 + x, which leaves ten digits of it as a callable
LINEAR = [name for name in ACTIVATIONS if name not in ("crelu with a tiny clip", "wide hard tanh")]


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_callable_with_declared_kinks_equals_the_piecewise_linear_one(name, moment):
    exact, q = ACTIVATIONS[name], np.geomspace(1e-2, 1e2, 9)
    phi = PiecewiseSmooth(exact, kinks=exact.knots)
    want, scale = MOMENTS[moment](exact, q), MOMENTS[moment](exact, q).max(initial=0.0)
    if moment == "curvature":  # crosses zero
        scale = gaussian.second_moment_slope(exact, q) / q
    np.testing.assert_allclose(
        MOMENTS[moment](phi, q), want, rtol=1e-12, atol=1e-12 * np.max(scale)
    )
    for share in (gaussian.sparsity, gaussian.saturation):
        np.testing.assert_allclose(share(phi, q), share(exact, q), rtol=1e-12, atol=1e-300)
    assert phi.bounded == exact.bounded
    assert phi.odd == exact.odd


def test_a_tiny_clip_keeps_the_digits_that_its_function_has():
    exact = pw.crelu(1.3, 1e-9)
    phi = PiecewiseSmooth(exact, kinks=exact.knots)
    assert float(gaussian.second_moment(phi, 1.0)) == pytest.approx(
        float(gaussian.second_moment(exact, 1.0)), rel=1e-6
    )


@pytest.mark.parametrize("name", [n for n in LINEAR if n not in ("relu", "leaky relu")])
def test_undeclared_kinks_are_caught_and_named(name):
    with pytest.raises(InvalidInput, match="not smooth between x = .*declare its kink"):
        PiecewiseSmooth(ACTIVATIONS[name])


def test_a_far_kink_is_caught_when_a_variance_reaches_it():
    phi = PiecewiseSmooth(lambda x: np.clip(x, -1e3, 1e3))
    assert float(gaussian.gain(phi, 1.0)) == pytest.approx(1.0, rel=1e-13)
    with pytest.raises(InvalidInput, match="declare its kink"):
        gaussian.gain(phi, 1e6)
    declared = PiecewiseSmooth(lambda x: np.clip(x, -1e3, 1e3), kinks=(-1e3, 1e3))
    want = float(gaussian.gain(pw.hard_tanh(1e3), 1e6))
    assert float(gaussian.gain(declared, 1e6)) == pytest.approx(want, rel=1e-12)


@settings(max_examples=40)
@given(at=st.floats(0.01, 12.0), side=st.sampled_from([-1.0, 1.0]), power=st.integers(0, 1))
def test_an_undeclared_kink_anywhere_is_caught_at_its_place(at, side, power):
    def f(x):
        return np.tanh(x) + 0.3 * np.maximum(side * x - at, 0.0) ** power * (side * x > at)

    with pytest.raises(InvalidInput) as caught:
        PiecewiseSmooth(f)
    text = str(caught.value)
    low, high = (float(part.split()[0].rstrip(":")) for part in text.split("x = ")[1:3])
    assert low - 1e-6 < side * at < high + 1e-6
    phi = PiecewiseSmooth(f, kinks=side * at)
    assert float(gaussian.second_moment(phi, 1.0)) > 0.0


@given(at=st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, math.sqrt(2.0)]))
def test_round_numbers_hide_no_kink(at):
    with pytest.raises(InvalidInput, match="declare its kink"):
        PiecewiseSmooth(lambda x: np.maximum(x - at, 0.0))


def test_only_some_kinks_declared():
    exact = pw.crelu(3.0, 1.0)
    with pytest.raises(InvalidInput, match=r"between x = (3.99|4.0).*declare its kink"):
        PiecewiseSmooth(exact, kinks=(3.0,))


def test_a_narrow_bump_is_seen():
    with pytest.raises(InvalidInput, match="not smooth"):
        PiecewiseSmooth(lambda x: np.tanh(x) + np.maximum(0.0, 0.05 - np.abs(x - 0.37)))


def test_powers_that_are_not_whole():
    with pytest.raises(InvalidInput, match="singular at x = 0, where it is cut already"):
        PiecewiseSmooth(lambda x: np.abs(x) ** 1.5)
    phi = PiecewiseSmooth(lambda x: np.abs(x - 1.0) ** 1.5, kinks=1.0)
    with mp.workdps(20):
        want = mp.quad(lambda z: abs(z - 1) ** 3 * mp.npdf(z), [-12, -4, 0, 1, 4, 12])
        gain = mp.quad(lambda z: 2.25 * abs(z - 1) * mp.npdf(z), [-12, -4, 0, 1, 4, 12])
    assert float(gaussian.second_moment(phi, 1.0)) == pytest.approx(float(want), rel=1e-12)
    assert float(gaussian.gain(phi, 1.0)) == pytest.approx(float(gain), rel=1e-10)


@smooth
@pytest.mark.parametrize("moment", ["second moment", "gain", "slope"])
def test_the_error_estimate_is_small_for_smooth_functions(name, moment):
    phi = PiecewiseSmooth(SMOOTH[name][0])
    value, error = MOMENTS[moment](phi, 1.0), phi.error_of(MOMENTS[moment], 1.0)
    assert 0.0 < float(error) < 1e-11 * float(value)


def test_the_error_estimate_sees_noise():
    def noisy(x):
        return np.tanh(x) + 3e-14 * np.sin(1e5 * x)

    phi, clean = PiecewiseSmooth(noisy), PiecewiseSmooth(np.tanh)
    estimate, miss = (
        float(phi.error_of(gaussian.gain, 1.0)),
        abs(float(gaussian.gain(phi, 1.0) - gaussian.gain(clean, 1.0))),
    )
    assert miss < 100.0 * estimate
    assert estimate > 10.0 * float(clean.error_of(gaussian.gain, 1.0))


@smooth
def test_a_given_derivative_agrees_and_a_wrong_one_is_caught(name):
    f = SMOOTH[name][0]

    def slope(x):  # sixth order, by differences
        h = 1e-2
        steps = ((45.0, 1.0), (-9.0, 2.0), (1.0, 3.0))
        return sum(c * (f(x + k * h) - f(x - k * h)) for c, k in steps) / (60.0 * h)

    free = PiecewiseSmooth(f)
    if name != "elu":  # differences across zero
        declared = PiecewiseSmooth(f, derivative=slope)
        a, b = gaussian.gain(declared, 1.0), gaussian.gain(free, 1.0)
        assert float(a) == pytest.approx(float(b), rel=1e-8)
    with pytest.raises(InvalidInput, match=r"derivative\(.*they must agree"):
        PiecewiseSmooth(f, derivative=lambda x: 1.01 * slope(x))


def test_derivative_and_kinks_of_a_callable_crelu():
    exact = ACTIVATIONS["tent, not odd"]
    phi = PiecewiseSmooth(exact, kinks=[*exact.knots, 0.3])
    x = np.array([-40.0, -1.0, -0.3, 0.0, 0.5, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(phi.derivative(x), exact.derivative(x), atol=1e-11)
    assert np.array(phi.kinks) == pytest.approx(np.array(exact.kinks), abs=1e-8)
    np.testing.assert_allclose(ERF.derivative(x), 2 / np.sqrt(np.pi) * np.exp(-x * x), atol=1e-12)
    assert ERF.kinks == []
    with pytest.raises(InvalidInput, match="must be finite"):
        ERF.derivative(np.inf)


def step(at):
    return PiecewiseSmooth(lambda x: np.where(x > at, np.tanh(x) + 1.0, 0.0), kinks=at)


@pytest.mark.parametrize("at", [-0.7, 0.4, 1.5])
def test_a_jump_counts_in_every_derivative_of_v_and_makes_chi1_infinite(ledger, at):
    phi, q, h = step(at), 1.3, 1e-3
    assert float(gaussian.gain(phi, q)) == math.inf
    (jump,) = phi.jumps
    assert (jump.x, jump.before) == (at, pytest.approx(0.0, abs=1e-12))
    assert jump.after == pytest.approx(1.0 + math.tanh(at))

    def second(at_q):
        return float(gaussian.second_moment(phi, at_q))

    slope, bend = second(q + h) - second(q - h), second(q + h) - 2 * second(q) + second(q - h)
    assert float(gaussian.second_moment_slope(phi, q)) == pytest.approx(slope / (2 * h), rel=1e-5)
    with mp.workdps(25):
        root = mp.sqrt(mp.mpf(q))
        cuts = [at / root, 3, 6, 14]
        moved = mp.quad(lambda z: (z * z - 1) * (mp.tanh(root * z) + 1) ** 2 * mp.npdf(z), cuts)
        error = reference.relative(gaussian.second_moment_slope(phi, q), moved / (2 * q))
    ledger.record("jump", error)
    got = float(gaussian.second_moment_curvature(phi, q))
    assert got == pytest.approx(bend / h**2, rel=1e-4, abs=1e-6)
    with pytest.raises(InvalidInput, match="phi jumps at x = .*no edge of chaos"):
        edge_of_chaos(phi, q)


def test_the_jump_term_far_in_the_tail_is_no_nan():
    for q in (1e-6, 1e-2, 1e6):
        assert float(gaussian.gain(step(1.5), q)) == math.inf
        assert math.isfinite(float(gaussian.second_moment_slope(step(1.5), q)))


def test_sign_has_its_jump_at_zero():
    phi = PiecewiseSmooth(np.sign)
    assert float(gaussian.second_moment(phi, 2.0)) == pytest.approx(1.0, rel=1e-13)
    assert float(gaussian.second_moment_slope(phi, 2.0)) == 0.0
    assert float(gaussian.gain(phi, 2.0)) == math.inf
    assert phi.odd
    assert phi.kinks == [(0.0, math.inf)]


def double_sum(x):
    return x.sum()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (math.tanh, "phi fails on an array.*np.vectorize"),
        (lambda x: x if x > 0 else 0.0, "phi fails on an array.*np.vectorize"),
        (double_sum, r"returns shape \(\) for shape \(2, 3\).*elementwise"),
        (lambda x: np.tanh(x).astype(np.float32), "returns float32: .*float64"),
        (lambda x: np.tanh(x.astype(np.float32)).astype(float), "noisy .compute it in float64"),
        (lambda x: x + 0j, "returns complex128"),
        (lambda x: np.sqrt(x), r"phi\(-.*\) is nan: must be finite"),
        (lambda x: 1.0 / np.maximum(x - 900.0, 0.0), "is inf: must be finite"),
        (lambda x: x + np.random.default_rng().normal(size=x.shape), "noisy"),
    ],
)
def test_functions_that_cannot_be_used_are_one_clear_error(function, says):
    with pytest.raises(InvalidInput, match=says):
        PiecewiseSmooth(function)


@pytest.mark.parametrize("kinks", ["one", (math.nan,), (1.0, math.inf), [[1.0], [1.0, 2.0]]])
def test_bad_kinks(kinks):
    with pytest.raises(InvalidInput, match="kinks .*must be"):
        PiecewiseSmooth(np.tanh, kinks=kinks)


def test_forgiving_where_nothing_is_lost():
    crelu = ACTIVATIONS["crelu"]
    phi = PiecewiseSmooth(crelu, kinks=[2.3, 1.3, 1.3])  # unsorted, repeated
    assert phi.declared == (1.3, 2.3)

    def in_place(x):
        x[x < 0.0] = 0.0
        return x

    relu = PiecewiseSmooth(in_place)
    assert float(gaussian.second_moment(relu, 2.0)) == pytest.approx(1.0, rel=1e-13)
    wrapped = PiecewiseSmooth(np.vectorize(math.tanh, otypes=[float]))
    assert float(wrapped(0.3)) == math.tanh(0.3)
    with np.errstate(over="raise"):  # overflow on the way to a finite value is the function's own
        naive = PiecewiseSmooth(SMOOTH["silu"][0])
        assert float(gaussian.gain(naive, 1e6)) == pytest.approx(0.5, rel=1e-2)


def test_naive_softplus_fails_only_where_it_overflows():
    phi = PiecewiseSmooth(lambda x: np.log1p(np.exp(x)))
    assert float(gaussian.gain(phi, 1.0)) > 0.0
    assert phi.growth[:2] == (0.0, pytest.approx(1.0))
    with pytest.raises(InvalidInput, match="is inf: must be finite.*np.logaddexp"):
        gaussian.gain(phi, 1e6)


def test_growth_faster_than_linear_has_moments_but_no_list_of_fixed_points():
    phi = PiecewiseSmooth(np.square)
    assert float(gaussian.second_moment(phi, 2.0)) == pytest.approx(12.0, rel=1e-12)
    with pytest.raises(InvalidInput, match="only for linear growth"):
        portrait(VarianceMap(phi, 1.0 / 3.0, 0.0), 1.0)


@given(c=st.floats(-5, 5).map(lambda e: 10.0**e))
def test_scale_identity(c):
    scaled = PiecewiseSmooth(lambda x: c * np.tanh(x / c))
    for moment, power in ((gaussian.second_moment, 2), (gaussian.gain, 0)):
        want = c**power * float(moment(PiecewiseSmooth(np.tanh), 0.7))
        assert float(moment(scaled, 0.7 * c * c)) == pytest.approx(want, rel=1e-11)


def test_arrays_of_variances_are_the_variances_one_by_one():
    q = np.geomspace(1e-4, 1e4, 6).reshape(2, 3)
    got = gaussian.second_moment(ERF, q)
    alone = [float(gaussian.second_moment(ERF, v)) for v in q.ravel()]
    np.testing.assert_allclose(got.ravel(), alone, rtol=1e-13)
    assert got.shape == (2, 3)
