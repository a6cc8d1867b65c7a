"""Squared gradients of a network of finite width: their mean, and what a typical network sees.

Backpropagation reuses the weights of the forward pass. Given the forward pass, a weight matrix W is
still Gaussian except along phi(h), where it made u = W phi(h); so

    ``W^T g = phi (u . g) / |phi|^2 + sqrt(sigma_w2 / n) |g| P xi,    xi ~ N(0, 1),``

with P the projection off phi, has exactly the law of the backward product: O(width) a layer, no
matrix, no approximation (ours). The factor of one layer fluctuates by O(1 / sqrt(width)), so the
product over a deep network has a mean far above its typical value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sparsefield.errors import InvalidInput

from . import gaussian
from .chain import checked_sizes
from .maps import VarianceMap
from .quadrature import Array

_BLOCK = 4_000_000  # numbers of the forward pass kept at a time


@dataclass(frozen=True)
class GradientRates:
    """Growth of squared gradients per layer, towards the input, to first order in 1 / width.

    Over d layers the logarithm of the growth has mean ``typical`` d and variance ``variance`` d.

    Attributes
    ----------
    mean
        log of the growth of the mean, per layer.
    typical
        mean of the log of the growth, per layer: what a typical network sees.
    variance
        variance of the log of the growth, per layer.
    """

    mean: float
    typical: float
    variance: float


def gradient_rates(vmap: VarianceMap, q_star: float, width: int) -> GradientRates:
    """Mean and typical growth of squared gradients per layer at width ``width``.

    With x = Q - q* of variance v = sigma_w2^2 Var(phi^2) / (n (1 - V'^2)) the factor of one layer
    is chi_1 + c / n + chi_1' x + chi_1'' x^2 / 2 + noise of variance
    sigma_w2^2 (3 E[phi'^4] - E[phi'^2]^2) / n (c / n is the excess of :func:`gradient_factor`).
    The typical rate is the mean of its logarithm. The mean's rate is that plus half the long-run
    variance, in which the noise of a layer also counts through the Q of the layers after it. Ours;
    valid where the rates are well below 1, while :func:`simulate_gradients` is exact.

    Parameters
    ----------
    vmap
        the variance map, without skip.
    q_star
        its stable fixed point.
    width
        n, units of each layer.

    Raises
    ------
    InvalidInput
        a skip (simulate instead), a width below 1, or a fixed point that does not attract.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.9, q=1.0, clip=1.0).variance_map()
    >>> rates = gradient_rates(vmap, 1.0, 300)
    >>> rates.mean > 0.0 > rates.typical
    True
    """
    checked_sizes(vmap, q_star, width=width, depth=1, draws=1)
    if vmap.skip != 0.0:
        raise InvalidInput(f"skip {vmap.skip:g}: the rates hold for skip 0; simulate_gradients")
    slope = float(vmap.slope(q_star))
    if abs(slope) >= 1.0 - 1e-9:
        raise InvalidInput(
            f"V'({q_star:g}) = {slope:.6g}: Q has no stationary spread unless |V'| < 1; lower the "
            "clip"
        )
    noise = _layer_noise(vmap, q_star, width)
    spread = noise.q / (1.0 - slope**2)
    chi1, tilt, bend = _chi1_series(vmap, q_star)
    shift = 0.5 * float(vmap.curvature(q_star)) * spread / (1.0 - slope)
    factor = float(gradient_factor(vmap, q_star, width)) + tilt * shift + 0.5 * bend * spread
    own = noise.gradient + tilt**2 * spread
    typical = math.log(chi1) + (factor - chi1) / chi1 - 0.5 * own / chi1**2
    carried = tilt**2 * noise.q / (1.0 - slope) ** 2 + 2.0 * tilt * noise.joint / (1.0 - slope)
    variance = (noise.gradient + carried) / chi1**2
    return GradientRates(typical + 0.5 * variance, typical, variance)


@dataclass(frozen=True)
class _Noise:
    """Variances of one layer's sample means given Q: of Q', of the gradient factor, and joint."""

    q: float
    gradient: float
    joint: float


def _layer_noise(vmap: VarianceMap, q: float, width: int) -> _Noise:
    phi, scale = vmap.phi, float(vmap.sigma_w2) ** 2 / width
    second, gain = float(gaussian.second_moment(phi, q)), float(gaussian.gain(phi, q))
    fourth = float(gaussian.fourth_moment(phi, q))
    gain_square = float(gaussian.expectation(phi, q, lambda z, u, g: g**4 * np.ones_like(z)))
    both = q * float(gaussian.expectation(phi, q, lambda z, u, g: (u * g) ** 2))
    return _Noise(
        scale * (fourth - second**2),
        scale * (3.0 * gain_square - gain**2),
        scale * (both - second * gain),
    )


def _chi1_series(vmap: VarianceMap, q: float) -> tuple[float, float, float]:
    """chi_1 and its first two derivatives in q: E[phi'^2 (z^2 - 1)] / (2 q) and so on."""
    phi, w = vmap.phi, float(vmap.sigma_w2)
    first = gaussian.expectation(phi, q, lambda z, u, g: g * g * (z * z - 1.0))
    second = gaussian.expectation(phi, q, lambda z, u, g: g * g * (z**4 - 6.0 * z * z + 3.0))
    chi1 = w * float(gaussian.gain(phi, q))
    return chi1, w * float(first) / (2.0 * q), w * float(second) / (4.0 * q * q)


def gradient_factor(vmap: VarianceMap, q: ArrayLike, width: int | Array) -> Array:
    """Mean factor on squared gradients through one layer at given q, to first order in 1 / width.

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


def simulate_gradients(
    vmap: VarianceMap,
    q_star: float,
    *,
    width: int,
    depth: int,
    draws: int,
    seed: int = 0,
) -> Array:
    """``log(|g_l|^2 / |g_L|^2)`` by layer l = 1 to L of ``draws`` networks, shape [draws, depth].

    g_l is the gradient with respect to the pre-activations of layer l. The head's weights are
    Gaussian and independent of the layers; the first layer's variance is ``q_star``. Exact in law,
    the skip included. -inf where every unit of a layer is off or clipped, so that no gradient
    passes; NaN where that happens in the last layer.

    Raises
    ------
    InvalidInput
        a width, depth or number of draws below 1.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.5, q=1.0, clip=1.0).variance_map()
    >>> simulate_gradients(vmap, 1.0, width=50, depth=3, draws=2).shape
    (2, 3)
    """
    checked_sizes(vmap, q_star, width=width, depth=depth, draws=draws)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // (width * depth))
    sizes = [min(block, draws - start) for start in range(0, draws, block)]
    parts = [_there_and_back(vmap, q_star, width, depth, size, rng) for size in sizes]
    return np.concatenate(parts)


def _there_and_back(
    vmap: VarianceMap, q_star: float, width: int, depth: int, draws: int, rng: np.random.Generator
) -> Array:
    h, u = _forward(vmap, q_star, (depth, draws, width), rng)
    keep, renew = math.sqrt(vmap.skip), math.sqrt(1.0 - vmap.skip)
    log_norm, log_scale = np.empty((draws, depth)), np.zeros(draws)
    at_top = rng.standard_normal((draws, width))
    g = vmap.phi.derivative(h[-1]) * at_top
    for layer in range(depth - 1, -1, -1):
        size = np.sqrt((g * g).sum(axis=1))
        with np.errstate(divide="ignore"):
            log_scale += np.log(size)
        log_norm[:, layer] = 2.0 * log_scale
        if layer > 0:
            unit = g / np.where(size > 0.0, size, 1.0)[:, None]  # no under- or overflow
            through = _transposed(vmap, vmap.phi(h[layer - 1]), u[layer], unit, rng)
            g = keep * unit + renew * vmap.phi.derivative(h[layer - 1]) * through
    with np.errstate(invalid="ignore"):
        return log_norm - log_norm[:, -1:]


def _forward(
    vmap: VarianceMap, q_star: float, shape: tuple[int, int, int], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Pre-activations h and the weights' part u = W phi of every layer, [depth, draws, width]."""
    h, u = np.empty(shape), np.zeros(shape)
    h[0] = math.sqrt(q_star) * rng.standard_normal(shape[1:])
    keep, renew = math.sqrt(vmap.skip), math.sqrt(1.0 - vmap.skip)
    for layer in range(1, shape[0]):
        second = (vmap.phi(h[layer - 1]) ** 2).mean(axis=1, keepdims=True)
        u[layer] = np.sqrt(vmap.sigma_w2 * second) * rng.standard_normal(shape[1:])
        b = math.sqrt(float(vmap.sigma_b2)) * rng.standard_normal(shape[1:])
        h[layer] = keep * h[layer - 1] + renew * (u[layer] + b)
    return h, u


def _transposed(
    vmap: VarianceMap, active: Array, u: Array, g: Array, rng: np.random.Generator
) -> Array:
    """W^T g given W active = u, by its exact law; g of length 1 (or 0)."""
    norm2 = (active * active).sum(axis=1, keepdims=True)
    inverse = np.where(norm2 > 0.0, 1.0 / np.where(norm2 > 0.0, norm2, 1.0), 0.0)
    length = np.sqrt((g * g).sum(axis=1, keepdims=True))
    fresh = math.sqrt(float(vmap.sigma_w2) / g.shape[1]) * length * rng.standard_normal(g.shape)
    along = ((u * g).sum(axis=1, keepdims=True)) - (active * fresh).sum(axis=1, keepdims=True)
    return np.asarray(fresh + active * along * inverse)
