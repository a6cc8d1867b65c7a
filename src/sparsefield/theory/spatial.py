"""Variance and covariance over the positions of a CNN, at infinitely many channels.

A convolution h'(p) = sum_t W_t phi(h(s p + t)) + b with weights N(0, sigma_w2 / fan_in) and
fan_in = channels * kernel^2, at the edge of the image too, gives [Xiao et al. 2018]

    Sigma'(p, p') = sigma_b2 + sigma_w2 mean_t E[phi(x) phi(y)],

x and y Gaussian with the covariance Sigma of positions s p + t and s p' + t. A tap outside of a
zero-padded image counts as zero in the mean: that is what breaks the fixed point at the edge. The
diagonal, the variance q(p), closes on its own. Delta-orthogonal weights have one tap, the centre:
they neither average nor have an edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from sparsefield.errors import InvalidInput

from . import gaussian
from .activation import Activation
from .bivariate import covariance, derivative_covariance
from .maps import VarianceMap
from .quadrature import Array
from .roots import NotConverged

Size = tuple[int, int]
Padding = Literal["circular", "zeros"]
Taps = Literal["gaussian", "delta"]

_SETTLED = 1e-13  # relative change per layer at which a profile counts as its limit
_LAYERS = 20_000  # layers to wait for that
_DEAD = 1e-100  # share of q* below which a variance is on its way to zero
_DENSE = 16  # images of up to so many pixels: eigenvalues of the whole matrix
_IS_FIXED = 1e-6  # relative distance of V(q) from q that a fixed point may show
_OVER = 1e-9  # excess of a correlation over 1 that is rounding


@dataclass(frozen=True)
class Convolution:
    """Which pixels one output pixel of a convolution reads; padding keeps the size ("same").

    Parameters
    ----------
    kernel
        side of the square kernel, odd; the padding is (kernel - 1) / 2.
    padding
        ``circular`` or ``zeros``, as in PyTorch's ``padding_mode``.
    stride
        every how many pixels there is an output, >= 1.
    weights
        ``gaussian`` (all taps alike; semi-orthogonal weights do the same), or ``delta``
        (delta-orthogonal: the centre tap alone, with the whole of sigma_w2).

    Raises
    ------
    InvalidInput
        an even kernel, a stride below 1, or an unknown padding or kind of weights.

    >>> Convolution(stride=2).output_size((28, 27))
    (14, 14)
    """

    kernel: int = 3
    padding: Padding = "circular"
    stride: int = 1
    weights: Taps = "gaussian"

    def __post_init__(self) -> None:
        _check_whole("kernel", self.kernel)
        _check_whole("stride", self.stride)
        if self.kernel % 2 == 0:
            raise InvalidInput(f"kernel {self.kernel}: an even one has no centre; use an odd one")
        if self.padding not in ("circular", "zeros"):
            raise InvalidInput(f"padding {self.padding!r}: choose circular or zeros")
        if self.weights not in ("gaussian", "delta"):
            raise InvalidInput(f"weights {self.weights!r}: choose gaussian or delta")

    @property
    def radius(self) -> int:
        """Pixels that the kernel reaches to each side, the width of the padding."""
        return (self.kernel - 1) // 2

    @property
    def offsets(self) -> range:
        """The taps along one axis that carry weight, relative to the centre."""
        radius = 0 if self.weights == "delta" else self.radius
        return range(-radius, radius + 1)

    @property
    def has_edge(self) -> bool:
        """Whether some tap that carries weight can fall outside of the image."""
        return self.padding == "zeros" and len(self.offsets) > 1

    def output_size(self, size: Size) -> Size:
        """Height and width after the convolution, those before it divided by the stride, up."""
        self._check_size(size)
        height, width = (-(-length // self.stride) for length in size)
        return height, width

    def reads(self, size: Size) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        """Index (row-major) of the pixel behind every tap, shape [taps, pixels out]; -1 outside.

        >>> Convolution(kernel=3, padding="zeros").reads((1, 2)).T.tolist()
        [[-1, -1, -1, -1, 0, 1, -1, -1, -1], [-1, -1, -1, 0, 1, -1, -1, -1, -1]]
        """
        out, width = self.output_size(size), size[1]
        rows, columns = (self._along(*lengths) for lengths in zip(size, out, strict=True))
        inside = (rows >= 0)[:, None, :, None] & (columns >= 0)[None, :, None, :]
        flat = rows[:, None, :, None] * width + columns[None, :, None, :]
        return np.where(inside, flat, -1).reshape(-1, math.prod(out))

    def average(self, field: Array, size: Size) -> Array:
        """The mean over the taps of a flat ``field`` [..., pixels] -> [..., pixels out]."""
        reads = self.reads(size)
        with_outside = _append_zero(field)  # index -1, outside of the image, reads this zero
        return np.asarray(sum(with_outside[..., tap] for tap in reads) / len(reads))

    def spread(self, field: Array, size: Size) -> Array:
        """The adjoint of :meth:`average`, [..., pixels out] -> [..., pixels]."""
        reads = self.reads(size)
        total = np.zeros((*field.shape[:-1], math.prod(size) + 1))
        for tap in reads:
            total[..., tap] += field  # a tap reads no pixel twice; all that is outside goes last
        return total[..., :-1] / len(reads)

    def transfer(self, size: Size) -> Array:
        """A(k), the factor of :meth:`average` on every Fourier mode of an image, shape [H, W].

        Frequencies are in the order of ``numpy.fft.fftfreq``.

        Raises
        ------
        InvalidInput
            with a stride, or with zero padding and Gaussian weights: Fourier modes mix.
        """
        self._check_size(size)
        if self.stride > 1 or self.has_edge:
            raise InvalidInput(
                f"padding {self.padding}, stride {self.stride}: Fourier modes keep apart with "
                "circular padding and stride 1 only; use fixed_profile for an image with an edge"
            )
        rows, columns = (_mean_cosine(self.offsets, length) for length in size)
        return rows[:, None] * columns

    def _along(self, length: int, out: int) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        """Pixel behind each tap along one axis, shape [taps, out]; -1 outside."""
        at = self.stride * np.arange(out) + np.array(self.offsets)[:, None]
        if self.padding == "circular":
            at = at % length
        return np.where((at >= 0) & (at < length), at, -1)

    def _check_size(self, size: Size) -> None:
        if np.shape(size) != (2,):
            raise InvalidInput(f"size {size}: must be (height, width)")
        for name, length in zip(("height", "width"), size, strict=True):
            _check_whole(name, length)
            if self.padding == "circular" and self.radius > length:
                raise InvalidInput(
                    f"{name} {length}: circular padding of {self.radius} wraps around more than "
                    "once, which PyTorch refuses; use a smaller kernel or a larger image"
                )


def variance_layer(vmap: VarianceMap, conv: Convolution, q: ArrayLike) -> Array:
    """q'(p) = sigma_b2 + sigma_w2 mean_t E[phi^2](q(s p + t)), one layer later.

    Parameters
    ----------
    vmap
        the variance map; its skip acts where the size stays, as in :class:`sparsefield.CNN`.
    conv
        the convolution.
    q
        variances [..., H, W], > 0.

    Returns
    -------
    Variances [..., H', W'].

    Raises
    ------
    InvalidInput
        a variance that is not positive and finite, fewer than two axes, a batch of
        activations, or an image too small for the padding.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.9, clip=1.0).variance_map()
    >>> variance_layer(vmap, Convolution(padding="zeros"), np.ones((3, 3))).round(3)
    array([[0.817, 0.89 , 0.817],
           [0.89 , 1.   , 0.89 ],
           [0.817, 0.89 , 0.817]])
    """
    q, size = _field(vmap, q)
    moment = gaussian.second_moment(vmap.phi, q)
    plain = vmap.sigma_b2 + vmap.sigma_w2 * conv.average(_flat(moment), size)
    return _with_skip(vmap, q, plain.reshape(*q.shape[:-2], *conv.output_size(size)))


def variances(vmap: VarianceMap, layers: Sequence[Convolution], q: ArrayLike) -> list[Array]:
    """The variances before and after each of ``layers`` in turn, the first of them ``q``."""
    fields = [np.asarray(q, dtype=float)]
    for conv in layers:
        fields.append(variance_layer(vmap, conv, fields[-1]))
    return fields


def backward(vmap: VarianceMap, conv: Convolution, q: ArrayLike, g: ArrayLike) -> Array:
    """Mean squared gradients [..., H, W] from those one layer later, ``g`` [..., H', W'].

    The gradient at p collects from every output that reads p: phi' there and the taps backwards,
    with as many channels before as after. ``q`` [..., H, W] are the variances of the
    pre-activations at the input.

    Raises
    ------
    InvalidInput
        as :func:`variance_layer`, and where the shape of ``g`` does not fit.
    """
    q, size = _field(vmap, q)
    g, out = np.asarray(g, dtype=float), conv.output_size(size)
    if g.shape[-2:] != out:
        raise InvalidInput(f"g of shape {list(g.shape)}: the layer's output is {list(out)}")
    spread = conv.spread(_flat(g), size).reshape(*g.shape[:-2], *size)
    plain = vmap.sigma_w2 * gaussian.gain(vmap.phi, q) * spread
    return _with_skip(vmap, g, plain)


def chi1(vmap: VarianceMap, conv: Convolution, q: ArrayLike) -> Array:
    """chi_1 of every pixel, [..., H, W]: :func:`backward` where all outputs have gradient 1."""
    q, size = _field(vmap, q)
    return backward(vmap, conv, q, np.ones((*q.shape[:-2], *conv.output_size(size))))


@dataclass(frozen=True)
class Profile:
    """The variances that a deep CNN settles to, pixel by pixel; :func:`fixed_profile` makes it.

    Attributes
    ----------
    q_star
        the fixed point that a constant image without an edge keeps.
    q
        variance of the pre-activations, [H, W].
    sparsity
        share of exact zeros after the activation, [H, W].
    chi1
        factor on mean squared gradients of each pixel, equal gradients above it, [H, W].
    image_chi1
        factor per layer on the squared gradients of the whole image after many layers, and on a
        small difference between two inputs: the largest eigenvalue of :func:`backward`.
    """

    q_star: float
    q: Array
    sparsity: Array
    chi1: Array
    image_chi1: float

    def deviates(self, by: float = 0.01) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Which pixels are further than the share ``by`` from q*, [H, W]."""
        return np.asarray(np.abs(self.q / self.q_star - 1.0) > by)

    def share(self, by: float = 0.01) -> float:
        """Share of the image that deviates."""
        return float(self.deviates(by).mean())

    def reach(self, by: float = 0.01) -> int:
        """How many pixels deep from the edge the deviation reaches."""
        rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in self.q.shape)
        depth = 1 + np.minimum(rows[:, None], columns)
        return int(np.max(depth, where=self.deviates(by), initial=0))


def fixed_profile(vmap: VarianceMap, conv: Convolution, size: Size, q: float) -> Profile:
    """The limit of q(p) over many layers, from ``q`` at every pixel.

    Parameters
    ----------
    vmap
        the variance map. Its skip changes the speed and ``chi1``, not the limit.
    conv
        a convolution of stride 1.
    size
        height and width of the image.
    q
        q*, a fixed point of ``vmap``.

    Raises
    ------
    InvalidInput
        a stride, a ``q`` that is not a fixed point, or a bad size.
    NotConverged
        the variances have no limit above zero, or creep towards it.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.9, clip=1.0).variance_map()
    >>> profile = fixed_profile(vmap, Convolution(padding="zeros"), (8, 8), 1.0)
    >>> profile.reach(by=0.01), round(profile.image_chi1, 2)
    (4, 0.89)
    """
    _check_single(vmap)
    if conv.stride > 1:
        raise InvalidInput(f"stride {conv.stride}: an image that shrinks has no fixed profile")
    if not abs(float(vmap(q)) - q) <= _IS_FIXED * q:
        raise InvalidInput(f"q {q}: V(q) = {float(vmap(q)):.6g}, not a fixed point; pass point.q")
    limit = _settle(vmap, conv, np.full(size, float(q)))
    return Profile(
        q_star=float(q),
        q=limit,
        sparsity=gaussian.sparsity(vmap.phi, limit),
        chi1=chi1(vmap, conv, limit),
        image_chi1=_image_chi1(vmap, conv, limit),
    )


def edge_decay(vmap: VarianceMap, conv: Convolution, q: float) -> float:
    """Factor per pixel on the deviation from q* away from a straight edge, of the fixed profile.

    The lambda < 1 with (1 / kernel) sum_j lambda^j = 1 / V'(q*), j from -radius to radius (ours);
    1 where V' = 1: no exponential decay. 0 for delta weights. The skip does not enter.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.9, clip=1.0).variance_map()
    >>> round(edge_decay(vmap, Convolution(padding="zeros"), 1.0), 3)
    0.314
    """
    _check_single(vmap)
    taps, radius = len(conv.offsets), len(conv.offsets) // 2
    slope = (float(vmap.slope(q)) - vmap.skip) / (1.0 - vmap.skip)
    if radius == 0:
        return 0.0
    if slope > 1.0 - _OVER:
        return 1.0
    polynomial = np.full(taps, slope)
    polynomial[radius] -= taps
    roots = np.abs(np.roots(polynomial))
    return float(np.max(roots, where=roots < 1.0, initial=0.0))


def _settle(vmap: VarianceMap, conv: Convolution, q: Array) -> Array:
    dead = _DEAD * q.max()
    for _ in range(_LAYERS):
        before, q = q, variance_layer(vmap, conv, q)
        if np.abs(q - before).max() <= _SETTLED * (1.0 - vmap.skip) * q.min():
            return q
        if q.min() < dead:
            raise NotConverged(
                f"sigma_b2 {float(vmap.sigma_b2):g}: the variances fall to zero from the edge "
                "inwards; choose circular padding, delta weights, or a point with sigma_b2 > 0"
            )
    raise NotConverged(
        f"variances from {q.min():.6g} to {q.max():.6g} still move after {_LAYERS} layers; "
        "V' is close to 1 there, choose a smaller clip"
    )


def _image_chi1(vmap: VarianceMap, conv: Convolution, q: Array) -> float:
    """With c = sigma_w2 E[phi'^2], backward is similar to the symmetric sqrt(c) mean sqrt(c)."""
    size = (q.shape[0], q.shape[1])
    root = np.sqrt(vmap.sigma_w2 * gaussian.gain(vmap.phi, _flat(q)))

    def apply(g: Array) -> Array:
        return root * conv.average(root * g.ravel(), size)

    return vmap.skip + (1.0 - vmap.skip) * _largest_eigenvalue(apply, q.size)


def _largest_eigenvalue(apply: Callable[[Array], Array], n: int) -> float:
    if n <= _DENSE:
        return float(np.linalg.eigvalsh(np.stack([apply(row) for row in np.eye(n)]))[-1])
    operator = LinearOperator((n, n), matvec=apply, dtype=float)
    try:
        found = eigsh(operator, k=1, which="LA", v0=np.ones(n), return_eigenvectors=False)
    except ArpackNoConvergence as error:
        raise NotConverged(f"image_chi1 of {n} pixels: {error}; use a smaller image") from error
    return float(found[0])


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
    _check_single(vmap)
    transfer = conv.transfer(size)
    chi = vmap.sigma_w2 * derivative_covariance(vmap.phi, q, q, rho)
    slope = (vmap.slope(q) - vmap.skip) / (1.0 - vmap.skip)
    ones = np.ones_like(transfer)
    return Modes(
        transfer,
        _with_skip(vmap, ones, slope * transfer),
        _with_skip(vmap, ones, chi * transfer),
    )


def depth_scale(factor: ArrayLike) -> Array:
    """Layers in which a deviation falls to 1/e, -1 / ln abs(factor); inf from factor 1 on."""
    size = np.abs(np.asarray(factor, dtype=float))
    with np.errstate(divide="ignore"):
        rate = -np.log(size)
        return np.where(rate > 1e-14, 1.0 / np.maximum(rate, 1e-300), np.inf)


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
    flat = _append_zero(_append_zero(c.reshape(n, -1, n, math.prod(size))).swapaxes(1, 3))
    reads, out = conv.reads(size), conv.output_size(size)
    total = np.stack([flat[:, tap][..., tap] for tap in reads]).mean(axis=0).swapaxes(1, 3)
    return np.asarray(sigma_b2 + sigma_w2 * total.reshape(n, *out, n, *out))


def covariance_layer(vmap: VarianceMap, conv: Convolution, sigma: ArrayLike) -> Array:
    """Sigma -> Sigma', the covariance over positions and inputs one layer later.

    ``sigma`` and the result are [N, H, W, N, H, W]; arguments and errors otherwise as for
    :func:`variance_layer` and :func:`activation_covariance`.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.9, clip=1.0).variance_map()
    >>> constant = np.ones((1, 2, 2, 1, 2, 2))  # q* everywhere, all correlations 1
    >>> bool(np.allclose(covariance_layer(vmap, Convolution(), constant), 1.0))
    True
    """
    _check_single(vmap)
    read = activation_covariance(vmap.phi, sigma)
    plain = convolve(read, conv, float(vmap.sigma_w2), float(vmap.sigma_b2))
    return _with_skip(vmap, np.asarray(sigma, dtype=float), plain)


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


def _windows(length: int, cells: int) -> Array:
    """Weights [cells, length] of AdaptiveAvgPool along one axis: windows may overlap."""
    _check_whole("grid", cells)
    cell, pixel = np.arange(cells)[:, None], np.arange(length)
    inside = (pixel >= cell * length // cells) & (pixel < -(-(cell + 1) * length // cells))
    return np.asarray(inside / inside.sum(axis=1, keepdims=True))


def _mean_cosine(offsets: range, length: int) -> Array:
    angle = 2.0 * np.pi * np.fft.fftfreq(length)
    return np.asarray(np.cos(angle[:, None] * np.array(offsets)).mean(axis=1))


def _with_skip(vmap: VarianceMap, carried: Array, plain: Array) -> Array:
    """skip carried + (1 - skip) plain; a layer that changes the image's size has no skip."""
    if carried.shape[-2:] != plain.shape[-2:]:
        return plain
    return vmap.skip * carried + (1.0 - vmap.skip) * plain


def _append_zero(field: Array) -> Array:
    """``field`` with a last entry 0 along its last axis."""
    return np.concatenate([field, np.zeros((*field.shape[:-1], 1))], axis=-1)


def _flat(field: Array) -> Array:
    return field.reshape(*field.shape[:-2], -1)


def _field(vmap: VarianceMap, q: ArrayLike) -> tuple[Array, Size]:
    """``q`` as an array, with the size of its image."""
    _check_single(vmap)
    q = np.asarray(q, dtype=float)
    if q.ndim < 2:
        raise InvalidInput(f"q of shape {list(q.shape)}: must be [..., height, width]")
    return q, (q.shape[-2], q.shape[-1])


def _check_single(vmap: VarianceMap) -> None:
    if vmap.phi.batch or np.ndim(vmap.sigma_w2) or np.ndim(vmap.sigma_b2):
        raise InvalidInput(f"a batch {vmap.phi.batch} of activations: give one at a time")


def _check_pairs(name: str, c: Array) -> None:
    if c.ndim != 6 or c.shape[:3] != c.shape[3:] or 0 in c.shape:
        raise InvalidInput(f"{name} of shape {list(c.shape)}: must be [N, H, W, N, H, W]")


def _check_whole(name: str, value: int) -> None:
    if not isinstance(value, int | np.integer) or value < 1:
        raise InvalidInput(f"{name} {value}: must be a whole number, at least 1")
