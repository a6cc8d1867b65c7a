"""The correlation map: fixed points, rates, the power law at the edge, and real layers."""

import mpmath as mp
import numpy as np
import pytest

from sparsefield.theory import solve

from . import reference


def correlation(chi1=1.0, skip=0.0, family="crelu"):
    return solve(family, sparsity=0.9, clip=1.0, chi1=chi1).variance_map(skip).correlation(1.0)


def exact_deficit(r, delta):
    """1 - R(1 - delta) by nested integrals."""
    v, q, delta = r.variance, r.q, mp.mpf(delta)
    second = reference.power_moment(v.phi, q, 2)
    lost = second - reference.joint_moment(v.phi, q, q, 1 - delta)
    kept = mp.mpf(v.skip)
    after = kept * q + (1 - kept) * (v.sigma_w2 * second + v.sigma_b2)
    return (kept * q * delta + (1 - kept) * v.sigma_w2 * lost) / after


@pytest.mark.parametrize("skip", [0.0, 0.9])
@pytest.mark.parametrize("family", ["crelu", "cst"])
def test_fixed_points_and_their_rates(family, skip, ledger):
    below, edge, above = (correlation(chi1, skip, family) for chi1 in (0.9, 1.0, 1.1))
    assert [p.rho for p in below.fixed_points()] == [p.rho for p in edge.fixed_points()] == [1.0]
    assert below.fixed_points()[0].depth_scale == pytest.approx(
        -1 / np.log(skip + (1 - skip) * 0.9)
    )
    assert edge.fixed_points()[0].depth_scale == np.inf
    inner, one = above.fixed_points()
    assert inner.stable
    assert not one.stable
    with mp.workdps(40):
        ledger.record(
            "correlation_fixed_point", exact_deficit(above, inner.delta) / inner.delta - 1
        )
        away = exact_deficit(above, 1.001 * inner.delta) / (1.001 * inner.delta) - 1
        assert abs(away) > 1e-6  # the twin: a point beside it
    near = float(above.deficit(1.001 * inner.delta)) - inner.delta  # what one layer leaves
    assert near / (0.001 * inner.delta) == pytest.approx(inner.slope, rel=1e-2)


def test_the_power_law_at_the_edge(ledger):
    edge = correlation()
    delta = edge.iterate_deficit(1.0, 10_001)
    ratio = delta[[100, 1000, 10_000]] / edge.power_law([100, 1000, 10_000])
    assert (np.diff(ratio) > 0).all()
    assert ratio[-1] == pytest.approx(1.0, abs=0.005)
    growth = delta[10_000] ** -0.5 - delta[9_999] ** -0.5
    ledger.record("correlation_power_law", growth / (edge.kappa / 2.0) - 1.0)
    assert correlation(skip=0.9).kappa == pytest.approx(0.1 * edge.kappa)


def test_an_odd_activation_without_bias_keeps_opposites():
    from sparsefield.theory import VarianceMap
    from sparsefield.theory import piecewise as pw

    odd = VarianceMap(pw.hard_tanh(1.0), 2.0, 0.0).correlation(0.5)
    assert [p.rho for p in odd.fixed_points()] == pytest.approx([-1.0, 0.0, 1.0])


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.9])
def test_real_layers_agree(rho, ledger):
    import torch

    point, width = solve("crelu", sparsity=0.9, clip=1.0), 2000
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(2, width, 200, generator=generator, dtype=torch.float64).numpy()
    x, y = z[0], rho * z[0] + np.sqrt(1 - rho**2) * z[1]
    products = (point.phi(x) * point.phi(y)).mean(axis=0)  # 200 layers of 2000 units
    seen = point.sigma_w2 * products + point.sigma_b2
    score = (seen.mean() - float(correlation()(rho))) / (seen.std() / 200**0.5)
    assert abs(score) < 4.5
    ledger.record("correlation_networks", score, 200)
    wrong = (seen.mean() - float(correlation()(rho + 0.1))) / (seen.std() / 200**0.5)
    assert abs(wrong) > 4.5
