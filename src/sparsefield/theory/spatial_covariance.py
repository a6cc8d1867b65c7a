"""Covariance over the positions of a CNN and between inputs, at infinitely many channels.

With weights N(0, sigma_w2 / fan_in) the covariance of the pre-activations goes from layer to layer
by [Xiao et al. 2018]

    Sigma'(p, p') = sigma_b2 + sigma_w2 mean_t E[phi(x) phi(y)],

x and y Gaussian with the covariance Sigma of positions s p + t and s p' + t, and the mean over the
taps of a :class:`Convolution`. The diagonal alone is :func:`.spatial.variance_layer`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sparsefield.errors import InvalidInput

from . import gaussian
from .activation import Activation
from .bivariate import covariance, derivative_covariance
from .convolution import Convolution, Size, check_whole
from .maps import VarianceMap
from .quadrature import Array
from .spatial import check_single, with_skip

_OVER = 1e-9  # excess of a correlation over 1 that is rounding


def image_covariance(x: ArrayLike) -> Array:
    """Products of pixels, averaged over channels, [N, H, W, N, H, W], of images [N, C, H, W].

    What the first layer reads; :func:`convolve` makes its pre-activations' covariance of it.

    Raises
    ------
    InvalidInput
        another number of axes, or a pixel that is not finite.
    """
    x = np.asarray(x, dtype=float)
    if x.ndim != 4 or 0 in x.shape:
        raise InvalidInput(f"images of shape {list(x.shape)}: must be [N, channels, H, W]")
    if not np.isfinite(x).all():
        raise InvalidInput("an image holds nan or infinity: pixels must be finite; clean the data")
    return np.asarray(np.einsum("nchw,mcij->nhwmij", x, x) / x.shape[1])


def activation_covariance(phi: Activation, sigma: ArrayLike) -> Array:
    """E[phi(x) phi(y)] of every pair of pixels of every pair of inputs, [N, H, W, N, H, W].

    Exact, for small images: (N H W)^2 / 2 pairs, 10 to 20 thousand of them a second.

    Parameters
    ----------
    phi
        one activation, not a batch.
    sigma
        covariance of the pre-activations, [N, H, W, N, H, W]; symmetric.

    Raises
    ------
    InvalidInput
        another shape, a variance that is not positive, or a correlation beyond 1.
    """
    sigma = np.asarray(sigma, dtype=float)
    _check_pairs("sigma", sigma)
    pixels = math.prod(sigma.shape[:3])
    flat = sigma.reshape(pixels, pixels)
    q = np.diagonal(flat)
    result = np.diag(gaussian.second_moment(phi, q))
    i, j = np.triu_indices(pixels, 1)
    rho = flat[i, j] / np.sqrt(q[i] * q[j])
    bad = rho[~(np.abs(rho) <= 1.0 + _OVER)]
    if bad.size:
        raise InvalidInput(f"sigma holds a correlation of {bad[0]:.6g}: it is no covariance")
    result[i, j] = result[j, i] = covariance(phi, q[i], q[j], np.clip(rho, -1.0, 1.0))
    return result.reshape(sigma.shape)


def convolve(c: ArrayLike, conv: Convolution, sigma_w2: float, sigma_b2: float) -> Array:
    """sigma_b2 + sigma_w2 mean_t c(s p + t, s p' + t), the covariance after a convolution.

    Parameters
    ----------
    c
        mean products of what the layer reads, [N, H, W, N, H, W].
    conv
        the convolution.
    sigma_w2, sigma_b2
        weights are N(0, sigma_w2 / fan_in), biases N(0, sigma_b2).

    Returns
    -------
    Covariance of the pre-activations, [N, H', W', N, H', W'].

    Raises
    ------
    InvalidInput
        another shape, a negative variance, or an image too small for the padding.
    """
    c = np.asarray(c, dtype=float)
    _check_pairs("c", c)
    if not (sigma_w2 >= 0.0 and sigma_b2 >= 0.0):
        raise InvalidInput(
            f"sigma_w2 {sigma_w2}, sigma_b2 {sigma_b2}: these are variances, must be >= 0"
        )
    n, size = c.shape[0], (c.shape[1], c.shape[2])
    flat = c.reshape(n, math.prod(size), n, math.prod(size))
    flat = np.pad(flat, ((0, 0), (0, 1)) * 2)  # index -1, outside of the image, reads zero
    reads, out = conv.reads(size), conv.output_size(size)
    total = np.stack([flat[:, tap][..., tap] for tap in reads]).mean(axis=0)
    return np.asarray(sigma_b2 + sigma_w2 * total.reshape(n, *out, n, *out))


def covariance_layer(vmap: VarianceMap, conv: Convolution, sigma: ArrayLike) -> Array:
    """Sigma -> Sigma', the covariance over positions and inputs one layer later.

    ``sigma`` and the result are [N, H, W, N, H, W]; arguments and errors otherwise as for
    :func:`.spatial.variance_layer` and :func:`activation_covariance`.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.9, clip=1.0).variance_map()
    >>> constant = np.ones((1, 2, 2, 1, 2, 2))  # q* everywhere, all correlations 1
    >>> bool(np.allclose(covariance_layer(vmap, Convolution(), constant), 1.0))
    True
    """
    check_single(vmap)
    read = activation_covariance(vmap.phi, sigma)
    plain = convolve(read, conv, float(vmap.sigma_w2), float(vmap.sigma_b2))
    return with_skip(vmap, np.asarray(sigma, dtype=float), plain)


def average_pool(c: ArrayLike, grid: int | Size, kind: str = "average") -> Array:
    """The mean over pairs of windows: ``c`` after average pooling to a ``grid``.

    Parameters
    ----------
    c
        mean products of the activations, [N, H, W, N, H, W], as from
        :func:`activation_covariance`.
    grid
        windows along height and width, those of ``AdaptiveAvgPool2d``.
    kind
        ``average``.

    Returns
    -------
    Mean products of what the next layer or the head reads, [N, *grid, N, *grid].

    Raises
    ------
    InvalidInput
        another kind of pooling (the maximum of Gaussians is not a function of pairs), another
        shape, or a grid below 1.
    """
    c = np.asarray(c, dtype=float)
    _check_pairs("c", c)
    if kind != "average":
        raise InvalidInput(
            f"pooling {kind!r}: only the average closes on covariances; use average, or a stride"
        )
    cells = (grid, grid) if isinstance(grid, int) else grid
    rows, columns = (_windows(n, m) for n, m in zip(c.shape[1:3], cells, strict=True))
    return np.asarray(
        np.einsum("ih,jw,nhwmkl,ak,bl->nijmab", rows, columns, c, rows, columns, optimize=True)
    )


@dataclass(frozen=True)
class Modes:
    """Factors per layer on small deviations from a constant image, by Fourier mode, [H, W] each.

    Attributes
    ----------
    transfer
        A(k), the Fourier transform of the taps.
    variance
        skip + (1 - skip) V' A(k), on the variances q(p).
    covariance
        skip + (1 - skip) chi A(k), on covariances at a fixed displacement, or between two inputs.
    """

    transfer: Array
    variance: Array
    covariance: Array


def modes(vmap: VarianceMap, conv: Convolution, size: Size, q: float, rho: float = 1.0) -> Modes:
    """How fast each Fourier mode over the image decays, about variances q and correlations rho.

    chi = sigma_w2 E[phi'(x) phi'(y)] at correlation ``rho``, which is chi_1 at ``rho = 1``
    [Xiao et al. 2018, section 3]. Gaussian weights damp every mode but the constant one by
    A(k) < 1; delta-orthogonal weights have A(k) = 1 for all. Frequencies as ``numpy.fft.fftfreq``.

    Raises
    ------
    InvalidInput
        as :meth:`Convolution.transfer`, and for values out of range.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.9, clip=1.0).variance_map()
    >>> found = modes(vmap, Convolution(), (28, 28), 1.0)
    >>> round(float(depth_scale(found.covariance)[0, 1]), 1)  # one wave across the image
    59.3
    """
    check_single(vmap)
    transfer = conv.transfer(size)
    chi = vmap.sigma_w2 * derivative_covariance(vmap.phi, q, q, rho)
    slope = (vmap.slope(q) - vmap.skip) / (1.0 - vmap.skip)
    ones = np.ones_like(transfer)
    return Modes(
        transfer,
        with_skip(vmap, ones, slope * transfer),
        with_skip(vmap, ones, chi * transfer),
    )


def depth_scale(factor: ArrayLike) -> Array:
    """Layers in which a deviation falls to 1/e, -1 / ln abs(factor); inf from factor 1 on."""
    size = np.abs(np.asarray(factor, dtype=float))
    with np.errstate(divide="ignore"):
        rate = -np.log(size)
        return np.where(rate > 1e-14, 1.0 / np.maximum(rate, 1e-300), np.inf)


def _windows(length: int, cells: int) -> Array:
    """Weights [cells, length] of AdaptiveAvgPool along one axis: windows may overlap."""
    check_whole("grid", cells)
    cell, pixel = np.arange(cells)[:, None], np.arange(length)
    inside = (pixel >= cell * length // cells) & (pixel < -(-(cell + 1) * length // cells))
    return np.asarray(inside / inside.sum(axis=1, keepdims=True))


def _check_pairs(name: str, c: Array) -> None:
    if c.ndim != 6 or c.shape[:3] != c.shape[3:] or 0 in c.shape:
        raise InvalidInput(f"{name} of shape {list(c.shape)}: must be [N, H, W, N, H, W]")
