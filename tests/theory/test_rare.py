"""Escapes too rare for plain draws: the operator against exact integrals and weighted draws."""

import mpmath as mp
import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from sparsefield.theory import TransferOperator, escape_probability, solve

from . import reference

DRAWS = 80_000
LIMIT = 4.5  # of a z-score: false alarm 7e-6


def escape_of_one_unit(point, depth):
    """P(Q > 2 in layers 2 to ``depth``) at width 1, by nested integrals with 30 digits."""
    w2, b2, tau, m = (mp.mpf(v) for v in (point.sigma_w2, point.sigma_b2, point.tau, point.m))
    assert b2 > 0.5  # Q never falls to q*/2
    reach = tau + mp.sqrt((2 - b2) / w2)
    assert reach < tau + m

    def chance(q, layers):
        root = mp.sqrt(q)
        if layers == 1:
            return reference.tail(reach / root)

        def then(z):
            return reference.density(z) * chance(b2 + w2 * (root * z - tau) ** 2, layers - 1)

        off = (1 - reference.tail(tau / root)) * chance(b2, layers - 1)
        return off + mp.quad(then, [tau / root, reach / root]) + reference.tail(reach / root)

    return chance(mp.mpf(1), depth - 1)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("s", [0.99, 1 - 1e-6, 1 - 1e-9])
def test_one_unit_has_a_closed_law(s, depth, ledger):
    point = solve("crelu", sparsity=s, clip=1.0)
    with mp.workdps(30):
        exact = float(escape_of_one_unit(point, depth))
    operator = TransferOperator(point.variance_map(), 1.0, width=1, tails=True, ceiling=4.0)
    got = operator.escape(depth)[-1]
    ledger.record("operator_tail", got / exact - 1.0)
    assert abs(operator.escape(depth + 1)[-1] / exact - 1.0) > 0.1  # the twin: a layer more


def total_mass(vmap, q, boost):
    """What the boosted chances of a unit add up to."""
    beyond_tau, beyond_clip = (ndtr(-k / np.sqrt(q)) for k in vmap.phi.knots)
    return 1.0 - beyond_tau + boost * (beyond_tau - beyond_clip) + boost**2 * beyond_clip


def one_layer(vmap, q, boost, width, rng):
    """Q' of every path, and by how many powers of ``boost`` its units are favoured.

    A boost b makes a unit on the slope b times, one at the clip b^2 times as likely against one
    that is off; within each of the three the law is the chain's own.
    """
    root = np.sqrt(q)[:, None]
    beyond_tau, beyond_clip = (ndtr(-k / root) for k in vmap.phi.knots)
    clipped = boost[:, None] ** 2 * beyond_clip
    sloping = boost[:, None] * (beyond_tau - beyond_clip)
    kind = rng.random((len(q), width)) * total_mass(vmap, q, boost)[:, None]
    at_clip, on_slope = kind < clipped, (kind >= clipped) & (kind < clipped + sloping)
    tails = beyond_clip + (beyond_tau - beyond_clip) * rng.random(kind.shape)
    square = np.where(on_slope, vmap.phi(-root * ndtri(tails)) ** 2, 0.0)
    square += np.where(at_clip, float(vmap.phi.values[-1]) ** 2, 0.0)
    power = on_slope.sum(axis=1) + 2 * at_clip.sum(axis=1)
    return vmap.sigma_b2 + vmap.sigma_w2 * square.mean(axis=1), power


def weighted_escapes(vmap, width, depth, tops, draws, seed):
    """One number a path, whose mean is P(Q > 2 q*) within ``depth`` layers: importance sampling.

    Each path is driven up to a layer of its own, most strongly there and by V' less each layer
    before. Its weight is the chain's likelihood over that of the mixture of all such drives.
    """
    rng, steps = np.random.default_rng(seed), depth - 1
    before = np.arange(steps)[:, None] - np.arange(steps)
    share = np.where(before >= 0, float(vmap.slope(1.0)) ** np.maximum(before, 0), 0.0)
    boosts = np.concatenate([top**share for top in tops])  # [drives, steps]
    drive = rng.integers(len(boosts), size=draws)
    q, out, log_ratio = np.ones(draws), np.zeros(draws, dtype=bool), np.zeros((len(boosts), draws))
    for boost in boosts.T:
        then, power = one_layer(vmap, q, boost[drive], width, rng)
        masses = np.log([total_mass(vmap, q, b) for b in boost])
        odds = power * np.log(boost)[:, None] - width * masses
        log_ratio += np.where(out, 0.0, odds)  # a path ends where it escapes
        q = np.where(out, q, then)
        out |= q > 2.0
    return out / np.exp(log_ratio).mean(axis=0)


@pytest.mark.parametrize(
    ("clip", "tops", "below"),
    [(0.7, (1.4, 1.7), 1e-4), (0.6, (1.5, 1.9), 1e-6), (0.5, (1.6, 1.9, 2.3), 1e-9)],
)
def test_rare_escapes_by_importance_sampling(clip, tops, below, ledger):
    vmap, width, depth = solve("crelu", sparsity=0.9, clip=clip).variance_map(), 80, 10
    chance = escape_probability(vmap, 1.0, width=width, depth=depth)
    assert 0.0 < chance < below
    found = weighted_escapes(vmap, width, depth, tops, DRAWS, seed=1)
    error = found.std() / DRAWS**0.5
    assert error < 0.15 * found.mean()
    ledger.record("operator_rare", (found.mean() - chance) / error, DRAWS)
    deeper = escape_probability(vmap, 1.0, width=width, depth=2 * depth)
    assert abs(found.mean() - deeper) / error > LIMIT  # the twin: twice as deep


def test_a_clip_that_hardly_lets_q_escape():
    """Near the largest Q that there is, the tilted law is narrow; it must not ring."""
    chances = [
        escape_probability(solve("crelu", sparsity=s, clip=clip).variance_map(), 1.0, width=300,
                           depth=30)
        for s in (0.8131, 0.8485, 0.8838) for clip in (0.2, 0.3, 0.4)
    ]  # fmt: skip
    assert all(chance < 1e-60 for chance in chances)
    assert chances[1] < chances[2] < chances[5] < chances[8]
