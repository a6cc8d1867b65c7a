"""Variances and gradients over the positions of a CNN, at infinitely many channels.

The variance q(p) closes on its own, without the covariance between positions:

    q'(p) = sigma_b2 + sigma_w2 mean_t E[phi^2](q(s p + t)),

the mean over the taps of a :class:`Convolution`. A tap outside of a zero-padded image counts as
zero: that is what breaks the fixed point at the edge (ours).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from sparsefield.errors import InvalidInput

from . import gaussian
from .convolution import Convolution, Size
from .maps import VarianceMap
from .quadrature import Array
from .roots import NotConverged

_SETTLED = 1e-13  # relative change per layer at which a profile counts as its limit
_LAYERS = 20_000  # layers to wait for that
_DEAD = 1e-100  # share of q* below which a variance is on its way to zero
_DENSE = 16  # images of up to so many pixels: eigenvalues of the whole matrix
_IS_FIXED = 1e-6  # relative distance of V(q) from q that a fixed point may show
_AT_ONE = 1e-9  # distance of V' below 1 that is rounding


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
    return with_skip(vmap, q, plain.reshape(*q.shape[:-2], *conv.output_size(size)))


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
    return with_skip(vmap, g, plain)


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
    check_single(vmap)
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
    check_single(vmap)
    taps, radius = len(conv.offsets), len(conv.offsets) // 2
    slope = (float(vmap.slope(q)) - vmap.skip) / (1.0 - vmap.skip)
    if radius == 0:
        return 0.0
    if slope > 1.0 - _AT_ONE:
        return 1.0
    polynomial = np.full(taps, slope)
    polynomial[radius] -= taps
    roots = np.abs(np.roots(polynomial))
    return float(np.max(roots, where=roots < 1.0, initial=0.0))


def with_skip(vmap: VarianceMap, carried: Array, plain: Array) -> Array:
    """skip carried + (1 - skip) plain; a layer that changes the image's size has no skip."""
    if carried.shape[-2:] != plain.shape[-2:]:
        return plain
    return vmap.skip * carried + (1.0 - vmap.skip) * plain


def check_single(vmap: VarianceMap) -> None:
    """Refuse a batch of activations."""
    if vmap.phi.batch or np.ndim(vmap.sigma_w2) or np.ndim(vmap.sigma_b2):
        raise InvalidInput(f"a batch {vmap.phi.batch} of activations: give one at a time")


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


def _field(vmap: VarianceMap, q: ArrayLike) -> tuple[Array, Size]:
    """``q`` as an array, with the size of its image."""
    check_single(vmap)
    q = np.asarray(q, dtype=float)
    if q.ndim < 2:
        raise InvalidInput(f"q of shape {list(q.shape)}: must be [..., height, width]")
    return q, (q.shape[-2], q.shape[-1])


def _flat(field: Array) -> Array:
    return field.reshape(*field.shape[:-2], -1)
