"""The chains of finite width against full random networks, and the operator against the chain."""

import numpy as np
import pytest

from sparsefield.errors import InvalidInput
from sparsefield.theory import TransferOperator, escape_probability, solve
from sparsefield.theory.chain import simulate, simulate_gram
from sparsefield.theory.finite_width import escaped
from sparsefield.theory.gradients import gradient_rates, simulate_gradients
from sparsefield.theory.operator import TooLarge

WIDTH, DEPTH, NETWORKS = 24, 6, 4000
LIMIT = 4.5  # of a z-score: false alarm 7e-6 each


def vmap(skip=0.0, s=0.7, clip=1.0):
    return solve("crelu", sparsity=s, clip=clip).variance_map(skip)


def z(a, b):
    """Largest z-score of the difference of means between two samples [draws, ...]."""
    error = np.sqrt(a.var(axis=0) / len(a) + b.var(axis=0) / len(b))
    return float(np.max(np.abs(a.mean(axis=0) - b.mean(axis=0)) / np.maximum(error, 1e-12)))


def full_networks(v, seed, networks=NETWORKS, inputs=1, rho=0.0):
    """Q (or Gram) by layer and log squared gradients of networks with explicit weights."""
    rng = np.random.default_rng(seed)
    keep, renew = np.sqrt(v.skip), np.sqrt(1 - v.skip)
    gram = np.full((inputs, inputs), rho) + (1 - rho) * np.eye(inputs)
    root = np.linalg.cholesky(gram)
    h = rng.standard_normal((networks, WIDTH, inputs)) @ root.T
    grams, hs, ws = [np.broadcast_to(gram, (networks, inputs, inputs))], [h], []
    for _ in range(DEPTH - 1):
        active = v.phi(h)
        w = rng.standard_normal((networks, WIDTH, WIDTH)) * np.sqrt(v.sigma_w2 / WIDTH)
        b = rng.standard_normal((networks, WIDTH, 1)) * np.sqrt(v.sigma_b2)
        fresh = v.sigma_b2 + v.sigma_w2 * active.swapaxes(1, 2) @ active / WIDTH
        grams.append(v.skip * h.swapaxes(1, 2) @ h / WIDTH + (1 - v.skip) * fresh)
        h = keep * h + renew * (w @ active + b)
        hs.append(h)
        ws.append(w)
    g = v.phi.derivative(hs[-1]) * rng.standard_normal((networks, WIDTH, inputs))
    sizes = [(g**2).sum(axis=(1, 2))]
    for h, w in zip(hs[-2::-1], ws[::-1], strict=True):
        g = keep * g + renew * v.phi.derivative(h) * (w.swapaxes(1, 2) @ g)
        sizes.append((g**2).sum(axis=(1, 2)))
    with np.errstate(divide="ignore", invalid="ignore"):  # a layer may be all off
        logs = np.log(np.array(sizes[::-1]).T)
        return np.array(grams).swapaxes(0, 1), logs - logs[:, -1:]


@pytest.mark.parametrize("skip", [0.0, 0.6])
def test_the_chain_has_the_law_of_full_networks(skip, ledger):
    grams, _ = full_networks(vmap(skip), seed=1)
    q = grams[:, 1:, 0, 0]
    path = simulate(vmap(skip), 1.0, width=WIDTH, depth=DEPTH, draws=NETWORKS, seed=2)[:, 1:]
    worst = max(z(q, path), z(q**2, path**2), z((q > 1.4) * 1.0, (path > 1.4) * 1.0))
    assert worst < LIMIT
    ledger.record("chain_skip_networks" if skip else "chain_networks", worst, NETWORKS)
    wrong = simulate(vmap(skip), 1.0, width=WIDTH // 2, depth=DEPTH, draws=NETWORKS, seed=2)
    assert z(q**2, wrong[:, 1:] ** 2) > LIMIT  # the twin: half the width


def test_the_skip_is_not_ignored():
    with_skip = simulate(vmap(0.6), 1.0, width=WIDTH, depth=DEPTH, draws=NETWORKS, seed=2)
    without = simulate(vmap(), 1.0, width=WIDTH, depth=DEPTH, draws=NETWORKS, seed=2)
    assert z(with_skip[:, 1:] ** 2, without[:, 1:] ** 2) > LIMIT


@pytest.mark.parametrize("skip", [0.0, 0.6])
def test_several_inputs_keep_their_joint_law(skip, ledger):
    grams, _ = full_networks(vmap(skip), seed=3, inputs=2, rho=0.3)
    chain = simulate_gram(
        vmap(skip), [[1, 0.3], [0.3, 1]], width=WIDTH, depth=DEPTH, draws=NETWORKS, seed=4
    )
    both = [g[:, 1:].reshape(NETWORKS, -1) for g in (grams, chain)]
    worst = max(z(*both), z(both[0] ** 2, both[1] ** 2))
    assert worst < LIMIT
    ledger.record("gram_networks", worst, NETWORKS)
    apart = simulate_gram(vmap(skip), np.eye(2), width=WIDTH, depth=DEPTH, draws=NETWORKS, seed=4)
    assert z(both[0], apart[:, 1:].reshape(NETWORKS, -1)) > LIMIT  # the twin: another rho


@pytest.mark.parametrize("skip", [0.0, 0.6])
def test_backpropagation_without_matrices_has_the_law_of_the_real_one(skip, ledger):
    _, logs = full_networks(vmap(skip), seed=7)
    chain = simulate_gradients(vmap(skip), 1.0, width=WIDTH, depth=DEPTH, draws=NETWORKS, seed=8)
    alive = [x[np.isfinite(x).all(axis=1), :-1] for x in (logs, chain)]
    worst = max(z(*alive), z(alive[0] ** 2, alive[1] ** 2), z(*map(np.exp, alive)))
    assert worst < LIMIT
    ledger.record("gradient_chain_networks", worst, NETWORKS)
    other = simulate_gradients(vmap(), 1.0, width=2 * WIDTH, depth=DEPTH, draws=NETWORKS, seed=8)
    assert z(alive[0], other[np.isfinite(other).all(axis=1), :-1]) > LIMIT  # the twin


@pytest.mark.parametrize(("width", "clip"), [(300, 1.0), (1000, 1.0), (1000, 0.5)])
def test_gradient_rates_to_first_order(width, clip, ledger):
    v, depth, draws = vmap(s=0.9, clip=clip), 21, 500
    growth = simulate_gradients(v, 1.0, width=width, depth=depth, draws=draws, seed=9)[:, 0]
    rates = gradient_rates(v, 1.0, width)
    error = growth.std() / np.sqrt(draws)
    score = abs(growth.mean() - 20 * rates.typical) / error
    assert score < LIMIT
    ledger.record("gradient_rates", score, draws)
    assert growth.var() / 20 == pytest.approx(rates.variance, rel=0.35)
    assert rates.mean > 0.0 > rates.typical
    assert abs(growth.mean() - 20 * rates.mean) / error > LIMIT  # the twin: the mean's rate


@pytest.mark.parametrize(
    ("family", "s", "clip", "width"),
    [
        ("crelu", 0.9, 1.25, 300),
        ("crelu", 0.9, 1.0, 30),
        ("crelu", 0.9, 1.0, 1),
        ("cst", 0.8, 1.2, 7),
        ("cst", 0.85, 1.0, 100),
        ("relu", 0.9, None, 60),
        ("st", 0.6, None, 100),
    ],
)
def test_the_operator_agrees_with_draws(family, s, clip, width, ledger):
    v = solve(family, sparsity=s, clip=clip).variance_map()
    draws, depth = 4000, 12
    path = simulate(v, 1.0, width=width, depth=depth, draws=draws, seed=10)
    chance = TransferOperator(v, 1.0, width=width).escape(depth)[-1]
    seen = escaped(path, 1.0).mean()
    score = abs(seen - chance) / np.sqrt(max(chance * (1 - chance), 1.0 / draws) / draws)
    assert score < LIMIT
    ledger.record("operator_draws", score, draws)
    if family in ("crelu", "cst"):  # bounded: no mass above the ceiling
        operator = TransferOperator(v, 1.0, width=width)
        last = path[:, -1]
        assert abs(last.mean() - operator.mean(depth)[-1]) < LIMIT * last.std() / draws**0.5
        assert operator._law.sum(axis=1) == pytest.approx(1.0, abs=1e-9)
        assert last.var() == pytest.approx(operator.variance(depth)[-1], rel=0.25)


def test_small_probabilities_with_and_without_the_tilt():
    for clip, size in ((0.9, 4e-8), (1.0, 1e-5)):
        v = vmap(s=0.9, clip=clip)
        plain, tilted = (
            TransferOperator(v, 1.0, width=300, tails=tails, ceiling=4.0).escape(100)[-1]
            for tails in (False, True)
        )
        assert tilted == pytest.approx(plain, rel=1e-3)
        assert plain == pytest.approx(size, rel=0.2)
    assert escape_probability(vmap(s=0.9, clip=0.5), 1.0, width=300, depth=100) < 1e-30


def test_edges_are_exact_or_clear_errors():
    v = vmap()
    assert TransferOperator(v, 1.0, width=5).escape(1).tolist() == [0.0]
    assert escape_probability(vmap(s=0.9, clip=1e-6), 1.0, width=30, depth=9) == 0.0
    assert 0 < escape_probability(vmap(s=1 - 1e-9), 1.0, width=3, depth=9) < 1e-6
    with pytest.raises(InvalidInput, match="skip 0 only"):
        TransferOperator(vmap(0.5), 1.0, width=5)
    with pytest.raises(InvalidInput, match="width 0"):
        TransferOperator(v, 1.0, width=0)
    with pytest.raises(TooLarge, match="simulate draws"):
        TransferOperator(v, 1.0, width=10**9)
    for gram in (np.eye(2)[:1], [[1, 2], [2, 1]], [[0.0]]):
        with pytest.raises(InvalidInput, match="gram"):
            simulate_gram(v, gram, width=3, depth=2, draws=1)
