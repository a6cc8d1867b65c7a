"""Gradients of several correlated inputs through one network of finite width.

All inputs share the weights. Given the forward pass of a batch, a weight matrix W is still Gaussian
except on the span of the columns of Phi = phi(h), where it made U = W Phi; so for the gradients G

    ``W^T G = Phi (Phi^T Phi)^+ U^T G + P F``,    rows of F independent N(0, sigma_w2 / n G^T G),

with P the projection off that span, has exactly the law of the backward product: O(width B^2) a
layer, no matrix (ours). :mod:`sparsefield.theory.gradients` is the case of one input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .chain import checked_gram, checked_sizes, gaussian_fields
from .maps import VarianceMap
from .quadrature import Array

_BLOCK = 4_000_000  # numbers of the forward pass kept at a time
_RANK = 1e-12  # eigenvalues of Phi^T Phi below this part of the largest count as zero


@dataclass(frozen=True)
class BatchGradients:
    """Gradients with respect to the pre-activations of each layer, by draw.

    Attributes
    ----------
    log_growth
        [draws, depth, B], ``log(|g_l|^2 / |g_L|^2)`` of each input; -inf where no gradient passes,
        NaN where that is so in the last layer.
    cosine
        [draws, depth, B, B], the cosines between the gradients of the inputs; 0 where one is zero.
    """

    log_growth: Array
    cosine: Array


def simulate_batch_gradients(
    vmap: VarianceMap, gram: ArrayLike, *, width: int, depth: int, draws: int, seed: int = 0
) -> BatchGradients:
    """Growth and cosines of the gradients of B inputs in ``draws`` networks.

    Exact, with a skip too. The output is one number, with Gaussian weights that all inputs share.

    Parameters
    ----------
    vmap
        the variance map, of one activation.
    gram
        [B, B], covariance of the first layer's pre-activations between the inputs.
    width
        units of each layer.
    depth, draws, seed
        numbers of layers and networks; the seed.

    Raises
    ------
    InvalidInput
        sizes below 1, or a ``gram`` that is no covariance.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.5, q=1.0, clip=1.0).variance_map()
    >>> found = simulate_batch_gradients(vmap, [[1, 0.5], [0.5, 1]], width=50, depth=3, draws=2)
    >>> found.log_growth.shape, found.cosine.shape
    ((2, 3, 2), (2, 3, 2, 2))
    """
    gram = checked_gram(gram)
    checked_sizes(vmap, 1.0, width=width, depth=depth, draws=draws)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // (width * depth * len(gram)))
    sizes = [min(block, draws - start) for start in range(0, draws, block)]
    parts = [_there_and_back(vmap, gram, width, depth, size, rng) for size in sizes]
    return BatchGradients(
        np.concatenate([p.log_growth for p in parts]), np.concatenate([p.cosine for p in parts])
    )


def _there_and_back(
    vmap: VarianceMap, gram: Array, width: int, depth: int, draws: int, rng: np.random.Generator
) -> BatchGradients:
    h, u = _forward(vmap, gram, (depth, draws, width, len(gram)), rng)
    keep, renew = math.sqrt(vmap.skip), math.sqrt(1.0 - vmap.skip)
    log_norm, cosine = np.empty((draws, depth, len(gram))), np.empty((draws, depth, *gram.shape))
    log_scale = np.zeros((draws, len(gram)))
    g = vmap.phi.derivative(h[-1]) * rng.standard_normal((draws, width, 1))
    for layer in range(depth - 1, -1, -1):
        size = np.sqrt((g * g).sum(axis=1))
        with np.errstate(divide="ignore"):
            log_scale += np.log(size)
        log_norm[:, layer] = 2.0 * log_scale
        unit = g / np.where(size > 0.0, size, 1.0)[:, None]  # no under- or overflow
        cosine[:, layer] = unit.swapaxes(1, 2) @ unit
        if layer > 0:
            through = _transposed(vmap, vmap.phi(h[layer - 1]), u[layer], unit, rng)
            g = keep * unit + renew * vmap.phi.derivative(h[layer - 1]) * through
    with np.errstate(invalid="ignore"):
        return BatchGradients(log_norm - log_norm[:, -1:], cosine)


def _forward(
    vmap: VarianceMap, gram: Array, shape: tuple[int, int, int, int], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Pre-activations h and the weights' part U = W Phi of each layer, [depth, draws, width, B]."""
    depth, draws, width, count = shape
    h, u = np.empty(shape), np.zeros(shape)
    h[0] = gaussian_fields(np.broadcast_to(gram, (draws, count, count)), width, rng)
    keep, renew = math.sqrt(vmap.skip), math.sqrt(1.0 - vmap.skip)
    for layer in range(1, depth):
        active = vmap.phi(h[layer - 1])
        products = float(vmap.sigma_w2) / width * active.swapaxes(1, 2) @ active
        u[layer] = gaussian_fields(products, width, rng)
        b = math.sqrt(float(vmap.sigma_b2)) * rng.standard_normal((draws, width, 1))
        h[layer] = keep * h[layer - 1] + renew * (u[layer] + b)
    return h, u


def _transposed(
    vmap: VarianceMap, active: Array, u: Array, g: Array, rng: np.random.Generator
) -> Array:
    """W^T G given W Phi = U, by its exact law; columns of G of length 1 (or 0)."""
    width = g.shape[1]
    fresh = gaussian_fields(float(vmap.sigma_w2) / width * g.swapaxes(1, 2) @ g, width, rng)
    turned = active.swapaxes(1, 2)
    inverse = np.linalg.pinv(turned @ active, rcond=_RANK, hermitian=True)
    return np.asarray(fresh + active @ (inverse @ (u.swapaxes(1, 2) @ g - turned @ fresh)))
