"""Variances and zeros behind norms and sums, against arbitrary precision and against networks."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import ACTIVATIONS
from sparsefield.errors import InvalidInput
from sparsefield.theory import PiecewiseSmooth, VarianceMap, gaussian, solve
from sparsefield.theory import piecewise as pw
from sparsefield.theory.sums import (
    normed_variance,
    post_activation,
    shifted,
    skip_weights,
    summed_variances,
)

from . import reference

RTOL = 1e-10
POINT = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
NAMES = [n for n in sorted(ACTIVATIONS) if not {"tiny", "huge", "wide"} & {*n.split()}]
FALSE_ALARM = 4.5  # standard errors: 7e-6 a test


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(40):
        yield


def by_quadrature(f, phi, mean, q):
    """E[f(phi(mean + sqrt(q) Z))], cut at the kinks."""
    root = mp.sqrt(mp.mpf(q))
    knots = [(mp.mpf(float(k)) - mean) / root for k in phi.knots]
    cuts = [mp.mpf(-14), *sorted(k for k in knots if abs(k) < 14), mp.mpf(14)]

    def on(x):
        i = sum(1 for k in phi.knots if x >= float(k))
        at = max(i - 1, 0)
        slope, knot, value = (mp.mpf(float(v[j])) for v, j in
                              ((phi.slopes, i), (phi.knots, at), (phi.values, at)))  # fmt: skip
        return value + slope * (x - knot)

    return mp.quad(lambda z: reference.density(z) * f(on(mean + root * z)), cuts)


@settings(max_examples=25)
@given(
    name=st.sampled_from(
        [n for n in sorted(ACTIVATIONS) if not {"tiny", "huge", "wide"} & {*n.split()}]
    ),
    beta=st.floats(-2.0, 2.0),
    gamma=st.floats(0.3, 3.0),
)
def test_a_norm_with_beta_shifts_the_activation(name, beta, gamma):
    phi = ACTIVATIONS[name]
    want = by_quadrature(lambda y: y * y, phi, mp.mpf(beta), gamma**2)
    got = float(gaussian.second_moment(shifted(phi, beta), gamma**2))
    assert abs(got - want) <= RTOL * max(abs(want), mp.mpf("1e-6"))


def test_a_batch_of_means_is_a_batch_of_activations():
    means = np.array([-1.0, 0.0, 2.0])
    together = gaussian.sparsity(shifted(POINT.phi, means), 4.0)
    alone = [float(gaussian.sparsity(shifted(POINT.phi, mean), 4.0)) for mean in means]
    assert together == pytest.approx(alone, rel=1e-14)
    assert together[1] == pytest.approx(0.9, rel=1e-12)


def test_a_norm_forgets_what_came_before():
    rng = np.random.default_rng(0)
    h = rng.exponential(3.0, (400, 1000)) ** 2
    gamma, beta = rng.uniform(0.5, 2.0, 1000), rng.normal(size=1000)
    y = gamma * (h - h.mean(axis=0)) / h.std(axis=0) + beta
    assert np.mean(y**2) == pytest.approx(normed_variance(gamma, beta), rel=1e-10)
    assert np.mean((gamma * h + beta) ** 2) > 10 * normed_variance(gamma, beta)  # the twin


def networks(vmap, q, blocks, *, width, count, block):
    """Mean square of h, [networks, blocks + 1], and the zeros at the end."""
    rng = np.random.default_rng(1)
    qs, zeros = [], []
    for _ in range(count):
        h = rng.standard_normal(width) * np.sqrt(q)
        path = [np.mean(h**2)]
        for _ in range(blocks):
            w = rng.standard_normal((width, width)) * np.sqrt(vmap.sigma_w2 / width)
            h = block(h, w, rng.standard_normal(width) * np.sqrt(vmap.sigma_b2))
            path.append(np.mean(h**2))
        qs.append(path)
        zeros.append(np.mean(vmap.phi(h) == 0.0))
    return np.array(qs), np.array(zeros)


def z_of(sample, expected):
    return (sample.mean() - expected) / (sample.std(ddof=1) / len(sample) ** 0.5)


def test_plain_sums_grow_as_told():
    vmap, blocks = POINT.variance_map(), 5
    qs, _ = networks(
        vmap, 4.0, blocks, width=300, count=60, block=lambda h, w, b: h + w @ vmap.phi(h) + b
    )
    path = summed_variances(vmap, 4.0, blocks)
    assert path[1] == pytest.approx(8.0)  # q* twice: q doubles at first
    assert path[-1] > 5 * 4.0
    assert abs(z_of(qs[:, -1], path[-1])) < FALSE_ALARM
    assert abs(z_of(qs[:, -1], summed_variances(vmap, 4.0, blocks - 1)[-1])) > FALSE_ALARM


def test_sums_of_relu_double_exactly():
    vmap = VarianceMap(pw.relu(), 2.0, 0.0)
    assert summed_variances(vmap, 3.0, 20)[-1] == pytest.approx(3.0 * 2.0**20, rel=1e-12)


@pytest.mark.parametrize("skip", [0.0, 0.3, 0.9])
def test_weights_of_a_skip_keep_q(skip):
    carry, renew = skip_weights(skip)
    assert carry**2 + renew**2 == pytest.approx(1.0, rel=1e-14)
    moment = POINT.second_moment
    carry, renew = skip_weights(skip, 4.0, moment)
    assert carry**2 * moment + renew**2 * 4.0 == pytest.approx(4.0, rel=1e-14)
    assert carry**2 * moment == pytest.approx(skip * 4.0, rel=1e-14)


def one_block(point, skip):
    """Zeros and E[phi^2] after one post-activation block, by nested integrals in mpmath."""
    q, tau, m = (mp.mpf(v) for v in (point.q, point.tau, point.m))
    moment = reference.family("crelu", point.tau, point.m).second_moment(q)
    carry, v = mp.sqrt(mp.mpf(skip) * q / moment), (1 - mp.mpf(skip)) * q

    def zeros(x):
        return 1 - reference.tail((tau - carry * x) / mp.sqrt(v))

    def square(x):
        a, b = ((t - carry * x) / mp.sqrt(v) for t in (tau, tau + m))
        mass, first, second = reference._truncated(a, b, 3)
        level = carry * x - tau
        ramp = level**2 * mass + 2 * level * mp.sqrt(v) * first + v * second
        return ramp + m**2 * reference.tail(b)

    def mean(f):
        a, b = tau / mp.sqrt(q), (tau + m) / mp.sqrt(q)
        ramp = mp.quad(
            lambda z: reference.density(z) * f(mp.sqrt(q) * z - tau), [a, (a + b) / 2, b]
        )
        return (1 - reference.tail(a)) * f(mp.mpf(0)) + ramp + reference.tail(b) * f(m)

    return mean(zeros), mean(square)


@pytest.mark.parametrize("skip", [0.01, 0.03, 0.3])
def test_one_post_activation_block_matches_mpmath(skip):
    vmap = POINT.variance_map()
    path = post_activation(vmap, 4.0, skip, blocks=2)
    zeros, second = one_block(POINT, skip)
    assert path.q[1] == pytest.approx(4.0, rel=RTOL)
    assert abs(path.zeros[1] - zeros) <= RTOL * zeros
    carry, renew = skip_weights(skip, 4.0, POINT.second_moment)
    want = carry**2 * second + renew**2 * (POINT.sigma_w2 * second + POINT.sigma_b2)
    assert abs(path.q[2] - want) <= RTOL * want


def test_without_a_skip_it_is_the_variance_map():
    vmap = VarianceMap(POINT.phi, 1.1 * POINT.sigma_w2, POINT.sigma_b2)
    path, q = post_activation(vmap, 4.0, 0.0, blocks=6), 4.0
    for block in range(7):
        assert path.q[block] == pytest.approx(q, rel=RTOL)
        assert path.zeros[block] == pytest.approx(float(vmap.sparsity(q)), rel=RTOL)
        q = float(vmap(q))


def test_two_sided_and_unclipped_activations_have_a_path_too():
    for family, clip in (("cst", 1.0), ("relu", None), ("st", None)):
        point = solve(family, sparsity=0.8, clip=clip)
        path = post_activation(point.variance_map(), 1.0, 0.02, blocks=3)
        assert path.q[:2] == pytest.approx([1.0, 1.0], rel=RTOL)
        assert path.zeros[0] == pytest.approx(0.8, rel=RTOL)


@pytest.mark.parametrize("skip", [0.02, 0.1])
def test_post_activation_networks_follow_the_path(skip):
    vmap, blocks = POINT.variance_map(), 4
    carry, renew = skip_weights(skip, 4.0, POINT.second_moment)
    qs, zeros = networks(
        vmap,
        4.0,
        blocks,
        width=400,
        count=60,
        block=lambda h, w, b: carry * vmap.phi(h) + renew * (w @ vmap.phi(h) + b),
    )
    path = post_activation(vmap, 4.0, skip, blocks)
    assert abs(z_of(qs[:, -1], path.q[-1])) < FALSE_ALARM
    assert abs(z_of(zeros, path.zeros[-1])) < FALSE_ALARM
    assert path.zeros[-1] < 0.9  # the mean of x is not zero
    twin = post_activation(vmap, 4.0, 2.0 * skip + 0.05, blocks)
    assert abs(z_of(zeros, twin.zeros[-1])) > FALSE_ALARM


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: skip_weights(1.0), "skip 1.0"),
        (lambda: post_activation(POINT.variance_map(), 4.0, -0.1, 3), "skip -0.1"),
        (lambda: post_activation(POINT.variance_map(), 4.0, 0.1, 0), "blocks 0"),
        (lambda: post_activation(POINT.variance_map(), 0.0, 0.1, 1), "q 0.0"),
        (lambda: summed_variances(POINT.variance_map(), -1.0, 1), "q -1.0"),
        (
            lambda: post_activation(VarianceMap(PiecewiseSmooth(np.tanh), 1.0, 0.0), 1.0, 0.1, 1),
            "PiecewiseSmooth",
        ),
    ],
)
def test_bad_values_are_clear_errors(call, says):
    with pytest.raises(InvalidInput, match=says):
        call()
