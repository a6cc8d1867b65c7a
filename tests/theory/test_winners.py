"""Top-k: its constants against mpmath, and its vanishing gradient in networks of real layers."""

import math
from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparsefield.errors import InvalidInput
from sparsefield.nn import activation, init_
from sparsefield.theory import VarianceMap, piecewise, solve, winners_point
from sparsefield.theory.winners import WinnersMap, chi1, kappa, winners

from . import reference

SPARSITIES = [1e-6, 0.1, 0.3, 0.5, 0.5001, 0.7, 0.8, 0.9, 0.95, 0.999, 1 - 1e-9, 1 - 1e-12]
FALSE_ALARM = 4.5  # standard errors: 7e-6 a test


def exact_kappa(sparsity):
    with mp.workdps(60):
        a = reference.threshold("relu", sparsity)
        return a * reference.density(a) + reference.tail(a)


def exact_kappa_at(k, n):
    """The second moment of a value times the chance to be among the k largest of n."""

    def moment(z):
        wins = mp.betainc(n - k, k, 0, mp.erfc(-z / mp.sqrt(2)) / 2, regularized=True)
        return z * z * reference.density(z) * wins

    with mp.workdps(25):
        return mp.quad(moment, [-13, -4, -2, -1, 0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 6, 14])


def relative(got, want):
    return float(abs(mp.mpf(got) / want - 1))


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_kappa_and_chi1_of_a_wide_layer(sparsity, ledger):
    want = exact_kappa(sparsity)
    ledger.record("winners", relative(kappa(sparsity), want))
    ledger.record("winners", relative(chi1(sparsity), (1 - mp.mpf(sparsity)) / want))


@pytest.mark.parametrize(
    ("k", "n"), [(1, 2), (1, 20), (2, 24), (10, 100), (15, 300), (70, 100), (7, 8)]
)
def test_kappa_at_a_finite_width(k, n, ledger):
    sparsity = 1 - k / n
    assert winners(sparsity, n) == k
    ledger.record("winners_width", relative(kappa(sparsity, n), exact_kappa_at(k, n)))
    assert chi1(sparsity, n) * kappa(sparsity, n) == pytest.approx(k / n, rel=1e-14)


def test_a_wide_layer_is_the_limit_and_a_narrow_one_is_not():
    assert kappa(0.9, 10**7) == pytest.approx(kappa(0.9), rel=1e-6)
    assert kappa(0.9, 100) < 0.985 * kappa(0.9)


def z_of_draws(sparsity, n, claimed, draws=20_000):
    z = np.sort(np.random.default_rng(0).standard_normal((draws, n)), axis=1)
    moments = (z[:, n - winners(sparsity, n) :] ** 2).sum(axis=1) / n
    return (moments.mean() - claimed) / (moments.std() / math.sqrt(draws))


def test_draws_have_the_moment_of_their_width_and_not_that_of_the_limit():
    assert abs(z_of_draws(0.9, 50, kappa(0.9, 50))) < FALSE_ALARM
    assert abs(z_of_draws(0.9, 50, kappa(0.9))) > FALSE_ALARM


@given(st.floats(0.5, 1 - 1e-9, exclude_min=True))
def test_above_one_half_a_level_variance_costs_the_gradient(sparsity):
    point = winners_point(sparsity)
    assert float(point.variance_map().slope(1.0)) == pytest.approx(point.slope, rel=1e-15)
    assert point.chi1 < 1.0
    # chi_1 = 1 in its place: no variance is kept, whatever the biases
    edge = replace(point.variance_map(), sigma_w2=1 / point.share, sigma_b2=0.1)
    assert float(edge.chi1(1.0)) == pytest.approx(1.0)
    assert float(edge.slope(1.0)) > 1.0


@given(st.floats(1e-3, 0.499))
def test_below_one_half_there_is_an_edge(sparsity):
    share = 1.0 - sparsity
    edge = WinnersMap(share, kappa(sparsity), 1 / share, 1.0 - kappa(sparsity) / share)
    assert edge.sigma_b2 > 0.0
    assert float(edge(1.0)) == pytest.approx(1.0)
    assert float(edge.slope(1.0)) < 1.0


def test_at_one_half_it_is_relu():
    dense = solve("relu", sparsity=0.5)
    assert winners_point(0.5).sigma_w2 == pytest.approx(dense.sigma_w2)
    relu = VarianceMap(piecewise.relu(), 1.7, 0.3, skip=0.4)
    topk = WinnersMap(0.5, kappa(0.5), 1.7, 0.3, skip=0.4)
    q = np.array([0.1, 1.0, 30.0])
    for name in ("__call__", "slope", "chi1", "sparsity"):
        np.testing.assert_allclose(getattr(topk, name)(q), getattr(relu, name)(q), rtol=1e-12)


def test_figures():
    assert [round(chi1(s), 2) for s in (0.8, 0.9, 0.95)] == [0.46, 0.31, 0.23]
    point = winners_point(0.9, q=4.0)
    assert point.tau == pytest.approx(2 * 1.2815515655446)
    assert point.second_moment == pytest.approx(4.0 / point.sigma_w2)
    assert point.fixed_points[0].q == 4.0
    assert float(point.variance_map(skip=0.9).chi1(4.0)) == pytest.approx(0.9 + 0.1 * point.chi1)


def test_so_many_win():
    assert [winners(0.9, n) for n in (1, 4, 14, 16, 300)] == [1, 1, 1, 2, 30]
    assert winners(0.01, 10) == 10
    assert kappa(0.01, 10) == 1.0


@pytest.mark.parametrize("bad", [(0.0, 1.0), (1.0, 1.0), (0.9, 0.0), (0.9, math.inf)])
def test_bad_values(bad):
    with pytest.raises(InvalidInput, match="must"):
        winners_point(*bad)
    with pytest.raises(InvalidInput, match="width 0"):
        winners_point(0.9, width=0)


# In networks, through real layers of alternating widths

WIDTHS = [90, 130]
DEPTH, NETWORKS = 8, 500
LIMIT = winners_point(0.9)
DENSE = solve("relu", sparsity=0.5)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def walk(point, seed, *, radial):
    """Pre-activations and gradients of every layer of one network, float64, gradient at the top.

    With ``radial`` the gradient starts along a random direction, without it across h.
    """
    widths = [WIDTHS[i % 2] for i in range(DEPTH)]
    layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip([64, *widths], widths, strict=False))
    init_(layers.double(), point, first="0", head=None, generator=generator(seed))
    x = torch.randn(1, 64, dtype=torch.float64, generator=generator(10**6 + seed))
    phi, hs = activation(point), [layers[0](x / x.pow(2).mean().sqrt())]
    for layer in layers[1:]:
        hs.append(layer(phi(hs[-1])))
    for h in hs:
        h.retain_grad()
    top = torch.randn(hs[-1].shape, dtype=torch.float64, generator=generator(2 * 10**6 + seed))
    if not radial:
        h = hs[-1].detach()
        top -= h * (h * top).sum() / h.square().sum()
    hs[-1].backward(top)
    return [h.detach() for h in hs], [h.grad for h in hs], phi


def squares(vectors):
    return np.array([v.square().sum().item() for v in vectors])


def across(point):
    """Factor on the squared gradient across h at each layer, [networks, depth - 1]."""
    rows = [squares(walk(point, seed, radial=False)[1]) for seed in range(NETWORKS)]
    return np.array([row[:-1] / row[1:] for row in rows])


def claimed(point):
    """What the module's docstring says of it, layer by layer."""
    widths = [WIDTHS[i % 2] for i in range(DEPTH - 1)]
    return np.array([point.sigma_w2 * (winners(0.9, n) - 1) / n for n in widths])


def z_of_mean(values):
    """Of the mean of values that should be 1, networks as the independent units."""
    mean = values.mean(axis=1)
    return (mean.mean() - 1) / (mean.std() / math.sqrt(len(mean)))


@pytest.fixture(scope="module")
def factors():
    return across(LIMIT)


def test_gradients_across_h_vanish_at_the_rate_claimed(factors, ledger):
    ledger.record("winners_networks", z_of_mean(factors / claimed(LIMIT)), NETWORKS)
    assert factors.mean() < chi1(0.9)
    assert np.exp(np.log(factors).sum(axis=1)).mean() < 3 * chi1(0.9) ** (DEPTH - 1)


def test_a_sigma_w2_five_per_cent_off_is_caught():
    off = replace(LIMIT, kappa=LIMIT.kappa / 1.05)
    assert z_of_mean(across(off) / claimed(LIMIT)) > FALSE_ALARM


def test_those_of_a_dense_network_do_not_vanish():
    dense = across(DENSE)
    assert dense.mean() == pytest.approx(1.0, abs=0.03)
    assert z_of_mean(dense / claimed(LIMIT)) > FALSE_ALARM


def part_along(seed):
    """Of one network: measured over claimed squared gradient, with and without the part along h."""
    hs, gs, phi = walk(LIMIT, seed, radial=True)
    along = [(h * g).sum().item() for h, g in zip(hs, gs, strict=True)]
    assert along == pytest.approx([along[-1]] * DEPTH)  # Euler: the network is homogeneous
    ratios = []
    for h, lower, upper, dot in zip(hs, gs, gs[1:], along[1:], strict=False):
        n = h.numel()
        variance = LIMIT.sigma_w2 * phi(h).square().sum().item() / n
        scale, squared = LIMIT.sigma_w2 / n, upper.square().sum().item()
        rest = scale * (winners(0.9, n) - 1) * squared
        whole = rest + scale * dot**2 / variance
        ratios.append((lower.square().sum().item() / whole, rest / whole))
    return np.array(ratios).T


def test_what_stays_is_the_part_along_h(ledger):
    measured, without = zip(*(part_along(seed) for seed in range(NETWORKS)), strict=True)
    ledger.record("winners_networks", z_of_mean(np.array(measured)), NETWORKS)
    assert z_of_mean(np.array(without)) < -FALSE_ALARM  # so it is not to be left out


def z_of_top_variance(point):
    """Of the mean square at the top over its expectation at these widths."""
    tops = [walk(point, seed, radial=False)[0][-1] for seed in range(NETWORKS)]
    mean = math.prod(
        LIMIT.sigma_w2 * kappa(0.9, WIDTHS[i % 2]) for i in range(DEPTH - 1)
    )  # every layer reads one of these widths
    q = np.array([top.square().mean().item() for top in tops]) / mean
    return z_of_mean(q[:, None])


def test_the_variance_follows_kappa_of_the_width(ledger):
    ledger.record("winners_networks", z_of_top_variance(LIMIT), NETWORKS)
    assert z_of_top_variance(replace(LIMIT, kappa=LIMIT.kappa / 1.05)) > FALSE_ALARM


def test_a_skip_keeps_most_of_the_gradient():
    point, skip, width = winners_point(0.9, width=400), 0.7, 400
    phi, factors = activation(point), []
    for seed in range(30):
        layer = nn.Linear(width, width).double()
        init_(nn.ModuleList([layer]), point, first=None, head=None, generator=generator(seed))
        h = torch.randn(1, width, dtype=torch.float64, generator=generator(10**6 + seed))
        h.requires_grad_()
        top = math.sqrt(skip) * h + math.sqrt(1 - skip) * layer(phi(h))
        g = torch.randn(1, width, dtype=torch.float64, generator=generator(2 * 10**6 + seed))
        (below,) = torch.autograd.grad(top, h, g)
        factors.append((below.square().sum() / g.square().sum()).item())
    z = (np.mean(factors) - point.variance_map(skip).chi1(1.0)) / (np.std(factors) / 30**0.5)
    assert abs(z) < FALSE_ALARM
    assert np.mean(factors) < 0.85  # and not 1, as on an edge of chaos
