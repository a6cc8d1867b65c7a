"""Moments of two correlated inputs against arbitrary precision, and their identities."""

import mpmath as mp
import numpy as np
import pytest

from cases import ACTIVATIONS
from sparsefield.theory import PiecewiseLinear, bivariate, gaussian
from sparsefield.theory import piecewise as pw

from . import reference

CASES = {
    **{n: ACTIVATIONS[n] for n in ("crelu", "cst", "soft threshold", "leaky relu")},
    "tent, not odd": ACTIVATIONS["tent, not odd"],
    "two sides, all but 1e-11 zero": PiecewiseLinear(
        [-8.0, -6.9, 7.0, 8.5], [0.0, 1.0, 0.0, 1.3, 0.0], [-1.1, 0.0, 0.0, 1.95]
    ),
}
cases = pytest.mark.parametrize("phi", CASES.values(), ids=CASES)
NEAR = 2.0**-20  # 1 - NEAR is a double


@cases
@pytest.mark.parametrize(
    ("q1", "q2", "rho"),
    [(1.0, 1.0, -1.0), (1.0, 1.0, NEAR - 1.0), (1.2, 1.2, -0.9), (2.0, 0.3, 0.4), (1, 1, 1 - NEAR)],
)
def test_moments_match_mpmath(phi, q1, q2, rho, ledger):
    rare = float(gaussian.gain(phi, q2)) < 1e-6
    with mp.workdps(60 if rare else 26):  # quadrature's error is absolute: 1e-38 needs more
        for moment, row, slopes in (
            (bivariate.covariance, "covariance", False),
            (bivariate.derivative_covariance, "derivative_covariance", True),
        ):
            want = reference.joint_moment(phi, q1, q2, rho, slopes=slopes)
            ledger.record(row, reference.relative(moment(phi, q1, q2, rho), want))
            other = reference.relative(moment(phi, q1, q2, 0.99 * rho), want)
            assert other > 1e-10 or want == 0  # the twin: one per cent off the correlation


@cases
def test_deficit_keeps_every_digit_where_the_difference_keeps_none(phi, ledger):
    delta = 2.0**-40
    with mp.workdps(40):
        second = reference.power_moment(phi, 1.3, 2)
        want = second - reference.joint_moment(phi, 1.3, 1.3, 1 - mp.mpf(delta))
    ledger.record("deficit", reference.relative(bivariate.deficit(phi, 1.3, delta), want))
    naive = gaussian.second_moment(phi, 1.3) - bivariate.covariance(phi, 1.3, 1.3, 1.0 - delta)
    assert reference.relative(naive, want) > 1e-7  # the twin


def test_opposite_inputs_of_one_sided_sparse_layers():
    """Far below anything that a sum could see, and still right."""
    phi, rho = pw.crelu(7.03, 1.0), -0.5  # 1e-12 active
    with mp.workdps(80):
        want = reference.joint_moment(phi, 1.0, 1.0, rho)
    assert want < 1e-35
    assert reference.relative(bivariate.covariance(phi, 1.0, 1.0, rho), want) < 1e-10


@pytest.mark.parametrize("delta", [1e-14, 1e-6, 0.01, 0.7])
def test_deficit_of_relu_is_the_arc_cosine_kernel(delta, ledger):
    with mp.workdps(60):
        d = mp.mpf(delta)
        theta = mp.acos(1 - d)
        kernel = (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta)) / (2 * mp.pi)
        want = mp.mpf(1) / 2 - kernel
        got = float(bivariate.deficit(pw.relu(), 1.0, delta))
        ledger.record("deficit", float(abs(got - want) / want))
        second = (1 - d) / 2 + d / 2 - want  # chi_1 delta less the deficit, halves and all
        assert float(second) == pytest.approx(float(kernel), rel=1e-12)


@cases
def test_kappa_is_the_three_halves_power(phi, ledger):
    """What is lost beyond gain delta, over delta^(3/2), is kappa up to a term in delta."""
    deltas = np.array([1e-5, 0.5e-5])
    lost = gaussian.gain(phi, 1.3) * deltas - bivariate.deficit(phi, 1.3, deltas) / 1.3
    a, b = lost / deltas**1.5
    ledger.record("kappa", float(bivariate.roughness(phi, 1.3)) / (2.0 * b - a) - 1.0)
    assert abs(a / (2.0 * b - a) - 1.0) > 1e-8  # the twin: as it is at delta = 1e-5


def test_kappa_of_relu():
    want = 2 / (3 * np.sqrt(np.pi)) / np.sqrt(2 * np.pi)
    assert float(bivariate.roughness(pw.relu(), 1.0)) == pytest.approx(want, rel=1e-15)


@cases
def test_ends_and_middle_are_one_dimensional(phi):
    q = np.array([0.3, 1.0, 4.0])
    np.testing.assert_allclose(
        bivariate.covariance(phi, q, q, 1.0), gaussian.second_moment(phi, q), rtol=1e-12
    )
    np.testing.assert_allclose(
        bivariate.derivative_covariance(phi, q, q, 1.0), gaussian.gain(phi, q), rtol=1e-12
    )
    rho = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(
        bivariate.covariance(phi, 2.0, 0.5, rho),
        bivariate.covariance(phi, 0.5, 2.0, rho),
        rtol=1e-10,
        atol=1e-15,
    )


def test_knots_out_of_reach_and_touching():
    for m in (1e-9, 1e9):
        deficit = bivariate.deficit(pw.crelu(1.28, m), 1.0, np.array([1e-12, 0.5, 2.0]))
        assert (deficit > 0).all()
        assert (np.diff(deficit) > 0).all()
