"""Random networks of finite width, layer by layer, without their weight matrices.

Given layer l, the pre-activations of layer l + 1 are Gaussian over the weights: independent from
unit to unit, with a covariance between inputs that only the mean products of phi(h) fix. So a
network is simulated exactly in O(width) a layer instead of O(width^2). Without a skip and for one
input the variance Q alone is a Markov chain, Q <- sigma_b2 + sigma_w2 mean_i phi(sqrt(Q) z_i)^2;
with a skip the units keep their stream h, and the state is all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsefield.errors import InvalidInput

from .maps import VarianceMap
from .quadrature import Array
from .ranges import check_count

_RANGE = 1e30  # of Q: single precision ends not far above
_BLOCK = 200_000  # pre-activations at a time: they stay in the cache


def simulate(
    vmap: VarianceMap,
    q_star: float,
    *,
    width: int | Sequence[int],
    depth: int,
    draws: int,
    seed: int = 0,
) -> Array:
    """Q of ``draws`` random networks, shape [draws, depth]; the first layer has Q = q*.

    Q of a layer is E[mean_i h_i^2] given the layer before it: without a skip the variance of its
    pre-activations, with one alpha^2 mean_i h_i^2 + (1 - alpha^2) (sigma_b2 + sigma_w2 mean phi^2).
    The law is exact (Gaussian weights); normals are drawn in single precision. A
    network that runs away stops at 1e30.

    Parameters
    ----------
    vmap
        the variance map, of one activation.
    q_star
        variance of the first layer's pre-activations, in units of q.
    width
        units of each layer: one number, or (without a skip) one a layer.
    depth, draws
        numbers of layers and of networks.
    seed
        fixes every draw.

    Raises
    ------
    InvalidInput
        a width, depth or number of draws below 1, or widths that vary under a skip.

    Ours, the extension to the skip included.
    """
    widths = checked_sizes(vmap, q_star, width=width, depth=depth, draws=draws)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // int(widths.max()))
    walk = _walk if vmap.skip == 0.0 else _stream_walk
    sizes = [min(block, draws - start) for start in range(0, draws, block)]
    return np.concatenate([walk(vmap, q_star, widths, size, rng) for size in sizes])


def checked_sizes(
    vmap: VarianceMap, q_star: float, *, width: int | Sequence[int], depth: int, draws: int
) -> NDArray[np.intp]:
    """The widths of all layers, shape [depth], or the rule that a value breaks."""
    for name, value in (("width", np.min(width)), ("depth", depth), ("draws", draws)):
        check_count(name, value)
    if np.ndim(width) and len(np.atleast_1d(width)) != depth:
        raise InvalidInput(f"{np.size(width)} widths for depth {depth}: give one, or one a layer")
    if not 0.0 < q_star < math.inf:
        raise InvalidInput(f"q_star {q_star}: a variance must be positive and finite")
    if vmap.skip != 0.0 and np.min(width) != np.max(width):
        raise InvalidInput(f"skip {vmap.skip:g} with widths {width}: a skip needs equal widths")
    return np.broadcast_to(np.asarray(width, dtype=np.intp), depth)


def _walk(
    vmap: VarianceMap, q_star: float, widths: NDArray[np.intp], draws: int, rng: np.random.Generator
) -> Array:
    """The Markov chain of Q: fresh units in every layer."""
    path = np.empty((draws, len(widths)))
    path[:, 0] = q = np.full(draws, q_star)
    for layer, width in enumerate(widths[:-1], start=1):
        h = rng.standard_normal((draws, int(width)), dtype=np.float32)
        h *= np.sqrt(q)[:, None].astype(np.float32)
        q = np.minimum(_next_q(vmap, h), _RANGE)
        path[:, layer] = q
    return path


def _stream_walk(
    vmap: VarianceMap, q_star: float, widths: NDArray[np.intp], draws: int, rng: np.random.Generator
) -> Array:
    """With a skip every unit carries its own h along."""
    keep, renew = math.sqrt(vmap.skip), math.sqrt(1.0 - vmap.skip)
    path = np.empty((draws, len(widths)))
    path[:, 0] = q_star
    h = math.sqrt(q_star) * rng.standard_normal((draws, int(widths[0])), dtype=np.float32)
    for layer in range(1, len(widths)):
        q = _next_q(vmap, h)
        path[:, layer] = vmap.skip * (h.astype(float) ** 2).mean(axis=1) + (1.0 - vmap.skip) * q
        fresh = rng.standard_normal(h.shape, dtype=np.float32)
        h = keep * h + renew * np.sqrt(q)[:, None].astype(np.float32) * fresh
    return path


def _next_q(vmap: VarianceMap, h: NDArray[np.float32]) -> Array:
    """sigma_b2 + sigma_w2 mean_i phi(h_i)^2 of every network, in double precision."""
    values = vmap.phi(h)
    mean = np.einsum("du,du->d", values, values).astype(float) / h.shape[1]
    return np.asarray(float(vmap.sigma_b2) + float(vmap.sigma_w2) * mean)


def simulate_gram(
    vmap: VarianceMap, gram: ArrayLike, *, width: int, depth: int, draws: int, seed: int = 0
) -> Array:
    """Covariances between several inputs by layer, shape [draws, depth, B, B].

    Each is that given the layer before, as in :func:`simulate`.

    Parameters
    ----------
    vmap
        the variance map, of one activation.
    gram
        [B, B], covariance of the first layer's pre-activations between the B inputs.
    width
        units of each layer.
    depth, draws, seed
        numbers of layers and networks; the seed.

    Raises
    ------
    InvalidInput
        sizes below 1, or a ``gram`` that is no covariance.

    Exact in law, O(width B^2) a layer (ours).
    """
    gram = checked_gram(gram)
    checked_sizes(vmap, 1.0, width=width, depth=depth, draws=draws)
    keep, renew = math.sqrt(vmap.skip), math.sqrt(1.0 - vmap.skip)
    rng = np.random.default_rng(seed)
    path = np.empty((draws, depth, *gram.shape))
    path[:, 0] = gram
    h = gaussian_fields(np.broadcast_to(gram, (draws, *gram.shape)), width, rng)
    for layer in range(1, depth):
        fresh = float(vmap.sigma_b2) + float(vmap.sigma_w2) * _gram(vmap.phi(h))
        path[:, layer] = vmap.skip * _gram(h) + (1.0 - vmap.skip) * fresh
        h = keep * h + renew * gaussian_fields(fresh, width, rng)
    return path


def _gram(values: Array) -> Array:
    """Mean products over the units, [draws, B, B]."""
    return np.asarray(values.swapaxes(1, 2) @ values / values.shape[1])


def gaussian_fields(covariance: Array, width: int, rng: np.random.Generator) -> Array:
    """``width`` independent Gaussian fields a network, [draws, width, B]."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    z = rng.standard_normal((len(covariance), width, covariance.shape[1]))
    return np.asarray(z @ root.swapaxes(1, 2))


def checked_gram(gram: ArrayLike) -> Array:
    """``gram`` as an array, or the rule of covariances that it breaks."""
    matrix = np.asarray(gram, dtype=float)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] > 0
    if not square or not np.allclose(matrix, matrix.T) or not np.isfinite(matrix).all():
        raise InvalidInput(f"gram of shape {matrix.shape}: must be a symmetric finite matrix")
    if np.linalg.eigvalsh(matrix)[0] < -1e-9 * np.trace(matrix) or (np.diag(matrix) <= 0.0).any():
        raise InvalidInput("gram: a covariance has positive variances and no negative eigenvalue")
    return matrix
