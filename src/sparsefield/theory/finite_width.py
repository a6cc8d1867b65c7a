"""A network of finite width: the exact Markov chain of its variance.

Given layer l, the pre-activations of layer l + 1 are i.i.d. Gaussian over the weights, with
variance Q <- sigma_b2 + sigma_w2 mean_i phi(sqrt(Q) z_i)^2. For one input that is no
approximation, and it costs O(width) a layer instead of O(width^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sparsefield.errors import InvalidInput

from . import gaussian
from .maps import VarianceMap
from .quadrature import Array

_BLOCK = 2_000_000  # pre-activations drawn at a time: memory does not grow with the width


@dataclass(frozen=True)
class FiniteWidth:
    """What Q does at one width and depth.

    Attributes
    ----------
    q_mean, q_std
        mean and standard deviation of Q over the second half of the layers.
    escape_probability
        chance that Q leaves [q*/2, 2 q*] at some layer.
    draws
        number of simulated networks.
    """

    q_mean: float
    q_std: float
    escape_probability: float
    draws: int


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

    ``width`` is one number, or one a layer.

    Raises
    ------
    InvalidInput
        a width, depth or number of draws below 1, or a map with a skip (its
        pre-activations are not i.i.d. given Q).
    """
    for name, value in (("width", np.min(width)), ("depth", depth), ("draws", draws)):
        if value < 1 or value != int(value):
            raise InvalidInput(f"{name} {value}: must be a whole number, at least 1")
    if np.ndim(width) and len(np.atleast_1d(width)) != depth:
        raise InvalidInput(f"{np.size(width)} widths for depth {depth}: give one, or one a layer")
    if not 0.0 < q_star < math.inf:
        raise InvalidInput(f"q_star {q_star}: a variance must be positive and finite")
    if vmap.skip != 0.0:
        raise InvalidInput(f"skip {vmap.skip:g}: the chain in Q alone holds for skip 0 only")
    widths = np.broadcast_to(width, depth)
    rng = np.random.default_rng(seed)
    path = np.full((draws, depth), float(q_star))
    for layer in range(1, depth):
        n = int(widths[layer - 1])
        step = max(1, _BLOCK // n)
        for rows in (slice(start, start + step) for start in range(0, draws, step)):
            q = path[rows, layer - 1]
            h = np.sqrt(q[:, None]) * rng.standard_normal((len(q), n))
            path[rows, layer] = vmap.sigma_b2 + vmap.sigma_w2 * np.square(vmap.phi(h)).mean(axis=1)
    return path


def finite_width(
    vmap: VarianceMap, q_star: float, *, width: int, depth: int, draws: int = 2000, seed: int = 0
) -> FiniteWidth:
    """Mean, spread and escape probability of Q at this width and depth, by simulation."""
    path = simulate(vmap, q_star, width=width, depth=depth, draws=draws, seed=seed)
    late = path[:, depth // 2 :]
    escaped = ((path < q_star / 2.0) | (path > 2.0 * q_star)).any(axis=1)
    return FiniteWidth(float(late.mean()), float(late.std()), float(escaped.mean()), draws)


def linear_std(vmap: VarianceMap, q_star: float, width: int) -> float:
    """Stationary std of Q from the chain linearised at q*; infinite where V' = 1.

    sqrt(sigma_w2^2 Var(phi^2) / (width (1 - V'^2))).
    """
    second = float(gaussian.second_moment(vmap.phi, q_star))
    variance = float(gaussian.fourth_moment(vmap.phi, q_star)) - second**2
    contraction = 1.0 - float(vmap.slope(q_star)) ** 2
    if contraction < 1e-9:  # V' = 1 but for rounding
        return math.inf
    return math.sqrt(float(vmap.sigma_w2) ** 2 * variance / (width * contraction))


def gradient_factor(vmap: VarianceMap, q: ArrayLike, width: int | Array) -> Array:
    """Mean factor on squared gradients through one layer, to first order in 1 / width.

    chi_1(q) takes the backward weights as independent of the forward pass. They are not: along
    the direction phi(h) the weights also made the next layer's h = u + b, and the gradient lives
    on the units where h, hence u, is large. That one direction carries

        sigma_w2 / width * E[phi'^2 phi^2] / E[phi^2] * r (E[z^2 phi'^2] / E[phi'^2] - 1),

    with r = 1 - sigma_b2 / q the share of u in the variance of h. It is positive: the sparser the
    layer, the more a narrow network amplifies gradients (ours, not in the papers).
    """
    phi = vmap.phi
    gain = gaussian.gain(phi, q)
    active_moment = gaussian.expectation(phi, q, lambda z, u, g: (z * g) ** 2)
    unclipped = np.asarray(q) * gaussian.expectation(phi, q, lambda z, u, g: (u * g) ** 2)
    aligned = unclipped / gaussian.second_moment(phi, q)
    from_weights = 1.0 - vmap.sigma_b2 / np.asarray(q)
    excess = from_weights * (active_moment / gain - 1.0)
    return np.asarray(vmap.sigma_w2 * (gain + aligned * excess / width))
