"""Moments of two correlated inputs against arbitrary precision, and their identities."""

import mpmath as mp
import numpy as np
import pytest

from cases import ACTIVATIONS
from sparsefield.theory import bivariate, gaussian
from sparsefield.theory import piecewise as pw

CASES = {name: ACTIVATIONS[name] for name in ("crelu", "cst", "leaky relu", "tent, not odd")}
cases = pytest.mark.parametrize("phi", CASES.values(), ids=CASES)


def exact(phi, q1, q2, rho, *, slopes):
    """E[phi(x) phi(y)] or E[phi'(x) phi'(y)]: the inner expectation closed, the outer by mpmath."""
    rho, s1, s2 = mp.mpf(rho), mp.sqrt(q1), mp.sqrt(q2)
    c = mp.sqrt(1 - rho * rho)
    knots, values, grades = (
        [mp.mpf(float(v)) for v in a] for a in (phi.knots, phi.values, phi.slopes)
    )
    jumps = np.diff(np.array(grades)).tolist()

    def outer(z):
        x = z * s1
        i = sum(1 for k in knots if x >= k)
        return (
            grades[i] if slopes else values[max(i - 1, 0)] + grades[i] * (x - knots[max(i - 1, 0)])
        )

    def inner(z):
        steps = [((rho * z * s2 - k) / (c * s2), j) for k, j in zip(knots, jumps, strict=True)]
        if slopes:
            return grades[0] + sum(j * mp.ncdf(t) for t, j in steps)
        base = values[0] + grades[0] * (rho * z * s2 - knots[0])
        return base + sum(j * c * s2 * (t * mp.ncdf(t) + mp.npdf(t)) for t, j in steps)

    cuts = {mp.mpf(0), *(k / s1 for k in knots)}
    if rho != 0:
        cuts |= {k / s2 / rho + m * c for k in knots for m in (-8, 0, 8)}
    ends = [mp.mpf(-12), *sorted(x for x in cuts if -12 < x < 12), mp.mpf(12)]
    return mp.quad(lambda z: mp.npdf(z) * outer(z) * inner(z), ends)


@cases
@pytest.mark.parametrize(
    ("q1", "q2", "rho"), [(1.0, 1.0, -0.5), (2.0, 0.3, 0.4), (1.0, 1.0, 1 - 1e-6)]
)
def test_moments_match_mpmath(phi, q1, q2, rho, ledger):
    with mp.workdps(22):
        for moment, row, slopes in (
            (bivariate.covariance, "covariance", False),
            (bivariate.derivative_covariance, "derivative_covariance", True),
        ):
            want = exact(phi, q1, q2, rho, slopes=slopes)
            error = abs(mp.mpf(float(moment(phi, q1, q2, rho))) - want)
            scale = gaussian.gain(phi, q1) if slopes else gaussian.second_moment(phi, q1)
            ledger.record(row, float(error / max(abs(want), mp.mpf("1e-6") * float(scale))))


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
    delta = 1e-9
    lost = float(gaussian.gain(phi, 1.3)) * delta - float(bivariate.deficit(phi, 1.3, delta)) / 1.3
    assert lost / delta**1.5 == pytest.approx(float(bivariate.roughness(phi, 1.3)), rel=1e-3)
    relu = float(bivariate.roughness(pw.relu(), 1.0))  # 2 / (3 sqrt(pi)) / sqrt(2 pi)
    ledger.record("kappa", relu / (2 / (3 * np.sqrt(np.pi)) / np.sqrt(2 * np.pi)) - 1.0)


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
