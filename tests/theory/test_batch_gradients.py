"""Gradients of several inputs without matrices, against full networks."""

import numpy as np
import pytest

from sparsefield.errors import InvalidInput
from sparsefield.theory import solve
from sparsefield.theory.batch_gradients import simulate_batch_gradients
from sparsefield.theory.gradients import simulate_gradients

WIDTH, DEPTH, NETWORKS = 20, 5, 4000
GRAM = np.array([[1.0, 0.6], [0.6, 1.3]])
LIMIT = 4.5  # of a z-score: false alarm 7e-6 each


def vmap(skip=0.0, s=0.7):
    return solve("crelu", sparsity=s, clip=1.0).variance_map(skip)


def z(a, b):
    """Largest z-score of the difference of means between two samples [draws, ...]."""
    error = np.sqrt(a.var(axis=0) / len(a) + b.var(axis=0) / len(b))
    return float(np.max(np.abs(a.mean(axis=0) - b.mean(axis=0)) / np.maximum(error, 1e-12)))


def full_networks(v, seed):
    """log growth [networks, depth, 2] and cosines [networks, depth] with explicit weights."""
    rng = np.random.default_rng(seed)
    keep, renew = np.sqrt(v.skip), np.sqrt(1 - v.skip)
    h = rng.standard_normal((NETWORKS, WIDTH, 2)) @ np.linalg.cholesky(GRAM).T
    hs, ws = [h], []
    for _ in range(DEPTH - 1):
        ws.append(rng.standard_normal((NETWORKS, WIDTH, WIDTH)) * np.sqrt(v.sigma_w2 / WIDTH))
        b = rng.standard_normal((NETWORKS, WIDTH, 1)) * np.sqrt(v.sigma_b2)
        hs.append(keep * hs[-1] + renew * (ws[-1] @ v.phi(hs[-1]) + b))
    g = [v.phi.derivative(hs[-1]) * rng.standard_normal((NETWORKS, WIDTH, 1))]
    for h, w in zip(hs[-2::-1], ws[::-1], strict=True):
        g.append(keep * g[-1] + renew * v.phi.derivative(h) * (w.swapaxes(1, 2) @ g[-1]))
    g = np.array(g[::-1]).swapaxes(0, 1)  # [networks, depth, width, 2]
    norm2 = (g**2).sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(norm2 / norm2[:, -1:]), (g[..., 0] * g[..., 1]).sum(axis=2), norm2


def statistics(logs, cosines):
    """Of the networks whose gradients all pass: logs, their squares and product, cosines."""
    alive = np.isfinite(logs).all(axis=(1, 2))
    logs, cosines = logs[alive, :-1], cosines[alive]
    parts = [logs, logs**2, logs.prod(axis=2), cosines, cosines**2]
    return np.concatenate([p.reshape(len(logs), -1) for p in parts], axis=1)


def drawn(v, gram=GRAM, width=WIDTH):
    found = simulate_batch_gradients(v, gram, width=width, depth=DEPTH, draws=NETWORKS, seed=2)
    return statistics(found.log_growth, found.cosine[..., 0, 1])


@pytest.mark.parametrize("skip", [0.0, 0.6])
def test_batches_have_the_law_of_full_networks(skip, ledger):
    logs, product, norm2 = full_networks(vmap(skip), seed=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        full = statistics(logs, product / np.sqrt(norm2.prod(axis=2)))
    score = z(full, drawn(vmap(skip)))
    assert score < LIMIT
    ledger.record("batch_gradient_networks", score, NETWORKS)
    apart = np.array([[1.0, 0.3], [0.3, 1.3]])
    assert z(full, drawn(vmap(skip), apart)) > LIMIT  # the twin: another correlation
    assert z(full, drawn(vmap(skip), width=2 * WIDTH)) > LIMIT  # and twice the width


def test_one_input_is_the_chain_of_one():
    batch = simulate_batch_gradients(
        vmap(), [[1.0]], width=WIDTH, depth=DEPTH, draws=NETWORKS, seed=3
    )
    one = simulate_gradients(vmap(), 1.0, width=WIDTH, depth=DEPTH, draws=NETWORKS, seed=4)
    alive = [x[np.isfinite(x).all(axis=1), :-1] for x in (batch.log_growth[..., 0], one)]
    assert max(z(*alive), z(alive[0] ** 2, alive[1] ** 2)) < LIMIT


def test_equal_inputs_have_equal_gradients_and_dead_ones_none():
    same = simulate_batch_gradients(vmap(), np.ones((2, 2)), width=30, depth=6, draws=50)
    assert same.cosine[:, 0, 0, 1] == pytest.approx(1.0)
    dead = simulate_batch_gradients(vmap(s=0.999), np.eye(2), width=3, depth=4, draws=50)
    assert np.isneginf(dead.log_growth[:, 0]).any() or np.isnan(dead.log_growth[:, 0]).any()
    assert np.isfinite(dead.cosine).all()


def test_bad_input():
    with pytest.raises(InvalidInput, match="gram"):
        simulate_batch_gradients(vmap(), [[1, 2], [2, 1]], width=3, depth=2, draws=1)
    with pytest.raises(InvalidInput, match="width 0"):
        simulate_batch_gradients(vmap(), [[1.0]], width=0, depth=2, draws=1)
