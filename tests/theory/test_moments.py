"""Every Gaussian moment against arbitrary precision, and against seeded Monte Carlo."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import ACTIVATIONS
from sparsefield.errors import InvalidInput
from sparsefield.theory import PiecewiseLinear, gaussian
from sparsefield.theory import piecewise as pw

from . import reference

RTOL = 1e-10
variances = st.floats(-12, 12).map(lambda e: 10.0**e)
named = pytest.mark.parametrize("phi", ACTIVATIONS.values(), ids=ACTIVATIONS)


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(reference.DIGITS):
        yield


def close(got, want, scale=0.0):
    """Relative 1e-10, below 1e-290 where double precision ends absolute."""
    return abs(mp.mpf(float(got)) - want) <= RTOL * max(abs(want), scale) + mp.mpf("1e-290")


@named
@given(q=variances)
def test_moments_match_mpmath(ledger, phi, q):
    second, gain, slope = reference.moments_by_quadrature(phi, q)
    ledger.record("second_moment", reference.relative(gaussian.second_moment(phi, q), second))
    ledger.record("gain", reference.relative(gaussian.gain(phi, q), gain))
    assert close(gaussian.second_moment(phi, q), second)
    assert close(gaussian.gain(phi, q), gain)
    # the slope may cross zero; it is compared on the scale of its two parts
    scale = cancelling(phi, q)
    assert close(gaussian.second_moment_slope(phi, q), slope, scale=scale)
    ledger.record("slope", reference.relative(gaussian.second_moment_slope(phi, q), slope, scale))


@named
@settings(max_examples=30)
@given(q=variances)
def test_fourth_moment_and_sparsity_match_mpmath(ledger, phi, q):
    fourth = reference.power_moment(phi, q, 4)
    ledger.record("fourth_moment", reference.relative(gaussian.fourth_moment(phi, q), fourth))
    zeros = reference.share_of_zeros(phi, q)
    ledger.record("sparsity", reference.relative(gaussian.sparsity(phi, q), zeros))


def cancelling(phi, q):
    """Zero where x phi phi' keeps its sign; else the size of what cancels in its mean."""
    return float(gaussian.gain(phi, q)) if (phi.slopes < 0).any() or phi.knots[0] < 0 else 0.0


@given(
    tau=st.floats(0.0, 8.0),
    clip=st.floats(-10, 10).map(lambda e: 10.0**e),
    q=variances,
    shift=st.floats(-1.5, 3),
    two_sided=st.booleans(),
)
def test_clipped_families_match_the_papers_formulas(ledger, tau, clip, q, shift, two_sided):
    tau, m, here = tau * q**0.5, clip * q**0.5, q * 10.0**shift
    phi = pw.cst(tau, m) if two_sided else pw.crelu(tau, m)
    exact = reference.family("cst" if two_sided else "crelu", tau, m)
    x = mp.mpf(here)
    assert close(gaussian.second_moment(phi, here), exact.second_moment(x))
    assert close(gaussian.gain(phi, here), exact.active(x))
    assert close(gaussian.second_moment_slope(phi, here), exact.slope(x))
    # V'' changes sign where E[x phi phi' z^2] = 3 E[x phi phi']: scale by the second term
    scale = 1.5 * exact.slope(x) / x
    assert close(gaussian.second_moment_curvature(phi, here), exact.curvature(x), scale=scale)
    got = gaussian.second_moment_curvature(phi, here)
    ledger.record("curvature", reference.relative(got, exact.curvature(x), scale))


@named
def test_probabilities_add_to_one(phi):
    q = np.geomspace(1e-3, 1e3, 7)
    sloped = gaussian.expectation(phi, q, lambda z, u, g: np.ones_like(z), lambda p: not p.is_flat)
    total = sloped + gaussian.sparsity(phi, q) + gaussian.saturation(phi, q)
    np.testing.assert_allclose(total, 1.0, rtol=1e-13)


def z_score(phi, q, claimed, draws=400_000, seed=1):
    """Of the claimed E[phi^2] against a seeded sample."""
    h = np.sqrt(q) * np.random.default_rng(seed).standard_normal(draws)
    sample = phi(h) ** 2
    return (sample.mean() - claimed) / (sample.std() / np.sqrt(draws))


@named
def test_second_moment_agrees_with_monte_carlo(phi):
    claimed = float(gaussian.second_moment(phi, 1.7))
    assert abs(z_score(phi, 1.7, claimed)) < 4.5  # false alarm 7e-6 a case


@named
def test_fourth_moment_agrees_with_monte_carlo(phi):
    h = np.sqrt(1.7) * np.random.default_rng(3).standard_normal(400_000)
    sample = phi(h) ** 4
    z = (sample.mean() - float(gaussian.fourth_moment(phi, 1.7))) / (sample.std() / 400_000**0.5)
    assert abs(z) < 4.5


def test_monte_carlo_catches_a_moment_two_per_cent_off():
    phi = ACTIVATIONS["crelu"]
    claimed = float(gaussian.second_moment(phi, 1.7))
    assert abs(z_score(phi, 1.7, 1.02 * claimed)) > 4.5


def test_autodiff_style_slope_without_the_delta_is_caught():
    phi = ACTIVATIONS["crelu"]
    _, without_delta, slope = reference.moments_by_quadrature(phi, 1.7)
    got = gaussian.second_moment_slope(phi, 1.7)
    assert close(got, slope)
    assert not close(got, without_delta)


@given(q=variances, c=st.floats(-6, 6).map(lambda e: 10.0**e), tau=st.floats(0, 5))
def test_scale_identity(ledger, q, c, tau):
    phi, scaled = pw.crelu(tau, 1.0), pw.crelu(c * tau, c)
    for moment, power in ((gaussian.second_moment, 2), (gaussian.gain, 0)):
        want = c**power * moment(phi, q)
        np.testing.assert_allclose(moment(scaled, c * c * q), want, rtol=1e-11, atol=1e-290)
        error = reference.relative(moment(scaled, c * c * q), mp.mpf(float(want)))
        ledger.record("scale_identity", error)


@given(q=variances, tau=st.floats(0, 5), m=st.floats(-6, 6).map(lambda e: 10.0**e))
def test_two_sided_is_two_one_sided(q, tau, m):
    one, two = pw.crelu(tau, m), pw.cst(tau, m)
    for moment in (gaussian.second_moment, gaussian.gain, gaussian.second_moment_slope):
        np.testing.assert_allclose(moment(two, q), 2 * moment(one, q), rtol=1e-12, atol=1e-290)


def test_batches_of_activations_and_variances_broadcast():
    tau, q = np.array([[0.5], [1.0], [2.0]]), np.array([0.3, 1.0, 4.0, 9.0])
    grid = gaussian.second_moment(pw.crelu(tau, 1.0), q)
    assert grid.shape == (3, 4)
    alone = [[float(gaussian.second_moment(pw.crelu(t, 1.0), v)) for v in q] for t in tau[:, 0]]
    np.testing.assert_allclose(grid, alone, rtol=1e-13)


@named
def test_half_pieces_rebuild_the_function(phi):
    for piece in phi.half_pieces:
        t = np.minimum(piece.width, 3.0) * np.linspace(0.05, 0.95, 5)
        x = piece.side * (piece.inner + t)
        np.testing.assert_allclose(piece.value + piece.slope * t, phi(x), atol=1e-7)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PiecewiseLinear([0.0], [1.0], [0.0]), "K knots need K \\+ 1 slopes"),
        (lambda: PiecewiseLinear([1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0]), "must not decrease"),
        (lambda: PiecewiseLinear([0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 5.0]), "continuous"),
        (lambda: PiecewiseLinear([np.nan], [0.0, 1.0], [0.0]), "finite"),
        (lambda: gaussian.second_moment(pw.relu(), 0.0), "variance must be positive"),
        (lambda: gaussian.second_moment(pw.relu(), np.nan), "variance must be positive"),
    ],
)
def test_bad_input_is_one_clear_error(make, says):
    with pytest.raises(InvalidInput, match=says):
        make()
