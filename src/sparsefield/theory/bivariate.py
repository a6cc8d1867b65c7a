"""Gaussian moments of two correlated pre-activations, without the cancellation near rho = +-1.

Price's theorem: with J_i the change of slope at knot k_i, a_i = k_i / sqrt(q1),
b_j = k_j / sqrt(q2) and p2 the density of two standard normals of correlation r,

    d/dr E[phi'(x) phi'(y)] = sum_ij J_i J_j p2(a_i, b_j; r),
    d/dr E[phi(x) phi(y)]   = sqrt(q1 q2) E[phi'(x) phi'(y)].

So both moments are one-dimensional moments at an anchor (r = -1, 0 or 1) plus integrals of p2 from
there. With r = cos(theta), p2 dr = -exp(-A / cos^2(theta/2) - B / sin^2(theta/2)) dtheta / (2 pi),
8 A = (a + b)^2, 8 B = (a - b)^2: no root is left, and nodes that crowd towards the end where the
exponent is singular integrate it to rounding. Anchored at r = 1, the deficit E[phi^2] - E[phi phi]
keeps all its digits however small 1 - rho is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from sparsefield.errors import InvalidInput

from . import bivariate_smooth, gaussian
from .activation import Activation
from .piecewise import PiecewiseLinear
from .quadrature import NODES, WEIGHTS, Array, tail_length

_PANELS = 24  # each half as long as the next: features down to 2^-24 of the interval are resolved
_ENDS = np.concatenate([[0.0], 0.5 ** np.arange(_PANELS - 1, -1, -1.0)])
_GL_NODES, _GL_WEIGHTS = (x for x in np.polynomial.legendre.leggauss(16))
_FAR_ENDS = np.concatenate([_ENDS[:-1], 1.0 - 0.5 ** np.arange(2, 9.0), [1.0]])  # crowd there too
_NARROW = 1e-3  # standard deviations between two knots below which their terms cancel
_BLOCK = 2048  # correlations at a time: memory does not grow with their number


def _graded(ends: Array) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on the panels between these ends."""
    length = np.diff(ends)[:, None]
    nodes = ends[:-1, None] + length * (_GL_NODES + 1.0) / 2.0
    return nodes.ravel(), (length * _GL_WEIGHTS / 2.0).ravel()


_TO_START, _TO_BOTH = _graded(_ENDS), _graded(_FAR_ENDS)


def covariance(phi: Activation, q1: ArrayLike, q2: ArrayLike, rho: ArrayLike) -> Array:
    """E[phi(x) phi(y)] for centred Gaussian x and y of variances q1, q2 and correlation rho.

    Parameters
    ----------
    phi
        one activation, not a batch.
    q1, q2
        variances, > 0; broadcast with ``rho``.
    rho
        correlation in [-1, 1].

    Raises
    ------
    InvalidInput
        a variance that is not positive and finite, a correlation outside [-1, 1], or a batch
        of activations.

    Source: [P24], the covariance map; here by Price's theorem for any piecewise-linear phi.

    >>> from sparsefield.theory import piecewise
    >>> bool(np.isclose(covariance(piecewise.relu(), 1.0, 1.0, 0.0), 1 / (2 * np.pi)))
    True
    """
    if not _by_knots(phi, q1, q2):
        return _nested(phi, bivariate_smooth.product(phi), q1, q2, rho)
    if phi.odd:  # E[phi(x) phi(-y)] = -E[phi(x) phi(y)]
        return np.where(np.asarray(rho) < 0.0, -1.0, 1.0) * _above(
            _covariance_above, phi, q1, q2, rho
        )
    return _by_sign(_covariance_above, _covariance_below, phi, q1, q2, rho)


def derivative_covariance(phi: Activation, q1: ArrayLike, q2: ArrayLike, rho: ArrayLike) -> Array:
    """E[phi'(x) phi'(y)], arguments and errors as for :func:`covariance`.

    >>> from sparsefield.theory import piecewise
    >>> bool(np.isclose(derivative_covariance(piecewise.relu(), 1.0, 4.0, 0.5), 1 / 3))
    True
    """
    if not _by_knots(phi, q1, q2):
        return _nested(phi, bivariate_smooth.slope_product(phi), q1, q2, rho)
    if phi.odd:
        return _above(_slope_above, phi, q1, q2, rho)
    return _by_sign(_slope_above, _slope_below, phi, q1, q2, rho)


def deficit(phi: Activation, q: ArrayLike, delta: ArrayLike) -> Array:
    """E[phi(x)^2] - E[phi(x) phi(y)] at correlation 1 - delta, to full relative precision.

    Equals E[(phi(x) - phi(y))^2] / 2. ``delta`` lies in [0, 2], and may be as small as it likes.
    """
    delta = np.asarray(delta, dtype=float)
    _check_range("delta", delta, 0.0, 2.0)
    if not _by_knots(phi, q):
        return _in_blocks(_smooth(bivariate_smooth.half_square(phi)), phi, q, q, delta)
    far = gaussian.second_moment(phi, q) - covariance(phi, q, q, np.minimum(1.0 - delta, 0.0))
    near = _in_blocks(_deficit, phi, q, q, np.minimum(delta, 1.0))
    return np.where(delta > 1.0, far, near)


def roughness(phi: Activation, q: ArrayLike) -> Array:
    """The kappa in E[phi^2] - E[phi phi] = q (gain delta - kappa delta^(3/2) + ...).

    kappa = 2 / (3 sqrt(pi)) sum_i J_i^2 p(k_i / sqrt(q)): each kink's share (ours; [P24] has the
    exponent). Zero for a phi without kinks.
    """
    root_q = np.sqrt(np.asarray(q, dtype=float))
    kinks = phi.kinks
    total = np.zeros(np.shape(root_q))
    for at, change in kinks:
        total = total + change**2 * np.exp(-0.5 * (at / root_q) ** 2) / np.sqrt(2.0 * np.pi)
    return np.asarray(2.0 / (3.0 * np.sqrt(np.pi)) * total)


Moment = Callable[[Activation, Array, Array, Array], Array]


def _by_knots(phi: Activation, *variances: ArrayLike) -> bool:
    """Whether the sum over pairs of knots serves: piecewise linear, and no clip so narrow that
    the terms of its two knots would cancel.
    """
    if not isinstance(phi, PiecewiseLinear) or phi.batch:
        return isinstance(phi, PiecewiseLinear)
    widest = math.sqrt(max(float(np.max(q, initial=0.0)) for q in variances))
    return bool(np.diff(phi.knots).min(initial=math.inf) >= _NARROW * widest)


def _above(moment: Moment, phi: Activation, q1: ArrayLike, q2: ArrayLike, rho: ArrayLike) -> Array:
    """``moment`` at abs(rho)."""
    _check_range("rho", np.asarray(rho, dtype=float), -1.0, 1.0)
    return _in_blocks(moment, phi, q1, q2, np.abs(rho))


def _by_sign(
    above: Moment, below: Moment, phi: Activation, q1: ArrayLike, q2: ArrayLike, rho: ArrayLike
) -> Array:
    """``above`` where rho >= 0 and ``below`` where it is negative."""
    one, two, r = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in (q1, q2, rho)))
    _check_range("rho", r, -1.0, 1.0)
    result = np.empty(r.shape)
    for moment, here in ((above, r >= 0.0), (below, r < 0.0)):
        result[here] = _in_blocks(moment, phi, one[here], two[here], r[here])
    return result


def _nested(
    phi: Activation, f: bivariate_smooth.Joint, q1: ArrayLike, q2: ArrayLike, rho: ArrayLike
) -> Array:
    """E[f(x, y)] of an activation that is not piecewise linear."""
    rho = np.asarray(rho, dtype=float)
    _check_range("rho", rho, -1.0, 1.0)
    return _in_blocks(_smooth(f), phi, q1, q2, 1.0 - rho)


def _smooth(f: bivariate_smooth.Joint) -> Moment:
    return lambda phi, q1, q2, delta: bivariate_smooth.expectations(phi, f, q1, q2, delta)


def _in_blocks(
    moment: Moment, phi: Activation, q1: ArrayLike, q2: ArrayLike, third: ArrayLike
) -> Array:
    """``moment`` of every element, a block at a time."""
    arrays = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in (q1, q2, third)))
    _check(phi, *arrays[:2])
    flat = [v.ravel() for v in arrays]
    parts = [
        moment(phi, *(v[start : start + _BLOCK] for v in flat))
        for start in range(0, flat[0].size, _BLOCK)
    ]
    return np.concatenate([np.zeros(0), *parts]).reshape(arrays[0].shape)


def _check(phi: Activation, *variances: Array) -> None:
    if phi.batch:
        raise InvalidInput(f"a batch {phi.batch} of activations: give one at a time")
    for q in variances:
        _check_range("q", q, np.nextafter(0.0, 1.0), np.finfo(float).max)


def _check_range(name: str, values: Array, low: float, high: float) -> None:
    bad = values[~((values >= low) & (values <= high))]
    if bad.size:
        raise InvalidInput(f"{name} = {bad.flat[0]}: must lie in [{low:.6g}, {high:.6g}]")


def _covariance_above(phi: Activation, q1: Array, q2: Array, rho: Array) -> Array:
    """Anchored at rho = 0."""
    kernel = _Kernel(phi, q1, q2, _angle(1.0 - rho), np.pi / 2.0)
    ramp = rho * _mean_slope(phi, q1) * _mean_slope(phi, q2) + kernel.from_start()
    return _mean(phi, q1) * _mean(phi, q2) + np.sqrt(q1 * q2) * ramp


def _slope_above(phi: Activation, q1: Array, q2: Array, rho: Array) -> Array:
    kernel = _Kernel(phi, q1, q2, _angle(1.0 - rho), np.pi / 2.0)
    return _mean_slope(phi, q1) * _mean_slope(phi, q2) + kernel.whole()


def _covariance_below(phi: Activation, q1: Array, q2: Array, rho: Array) -> Array:
    """Anchored at rho = -1, where x and y are opposite."""
    value, slope = _opposite(phi, q1, q2)
    kernel = _Kernel(phi, q1, q2, 0.0, _angle(1.0 + rho), mirrored=True)
    return value + np.sqrt(q1 * q2) * ((1.0 + rho) * slope + kernel.to_end())


def _slope_below(phi: Activation, q1: Array, q2: Array, rho: Array) -> Array:
    kernel = _Kernel(phi, q1, q2, 0.0, _angle(1.0 + rho), mirrored=True)
    return _opposite(phi, q1, q2)[1] + kernel.whole()


def _deficit(phi: Activation, q: Array, _: Array, delta: Array) -> Array:
    """Anchored at rho = 1."""
    kernel = _Kernel(phi, q, q, 0.0, _angle(delta))
    return q * (delta * gaussian.gain(phi, q) - kernel.to_end())


def _angle(delta: Array) -> Array:
    """The theta with 1 - cos(theta) = delta."""
    return 2.0 * np.arcsin(np.sqrt(0.5 * delta))


class _Kernel:
    """sum_ij J_i J_j p2(a_i, b_j) at nodes between two angles, which crowd at ``start``.

    ``mirrored``: at angles from rho = -1. Knots on one side of zero then make the density rise
    from nothing at all, so that all there is lies at ``end``; the nodes crowd there as well.
    """

    def __init__(
        self,
        phi: Activation,
        q1: Array,
        q2: Array,
        start: ArrayLike,
        end: ArrayLike,
        *,
        mirrored: bool = False,
    ) -> None:
        self.start, self.end = (np.asarray(v)[..., None] for v in (start, end))
        nodes, weights = _TO_BOTH if mirrored else _TO_START
        self.theta = self.start + (self.end - self.start) * nodes
        half = [np.sin(self.theta / 2.0) ** 2, np.cos(self.theta / 2.0) ** 2]
        # an empty interval at theta = 0 has no density to divide by
        sines, cosines = (np.maximum(h, 1e-300) for h in (half[::-1] if mirrored else half))
        total = np.zeros(np.broadcast_shapes(self.theta.shape, (*np.shape(q1), 1)))
        for weight, a, b in _pairs(phi, q1, q2):
            with np.errstate(over="ignore"):  # of knots that no pre-activation reaches
                exponent = (a + b) ** 2 / (8.0 * cosines) + (a - b) ** 2 / (8.0 * sines)
            total += weight * np.exp(-exponent)
        self.weighted = total * (self.end - self.start) * weights / (2.0 * np.pi)

    def whole(self) -> Array:
        """The integral of the density."""
        return np.asarray(self.weighted.sum(axis=-1))

    def from_start(self) -> Array:
        """Weighted with cos(start) - cos(theta)."""
        return self._against(self.start, self.theta)

    def to_end(self) -> Array:
        """Weighted with cos(theta) - cos(end)."""
        return self._against(self.theta, self.end)

    def _against(self, low: Array, high: Array) -> Array:
        drop = 2.0 * np.sin((low + high) / 2.0) * np.sin((high - low) / 2.0)
        return np.asarray((drop * self.weighted).sum(axis=-1))


def _pairs(phi: Activation, q1: Array, q2: Array) -> Iterator[tuple[float, Array, Array]]:
    """(J_i J_j, a_i, b_j) of every pair of kinks, as columns; mirror pairs once if q1 = q2."""
    kinks = [(k, jump) for k, jump in phi.kinks if jump != 0.0]
    one, two = np.sqrt(q1)[..., None], np.sqrt(q2)[..., None]
    same = np.array_equal(q1, q2)
    for i, (k, jump) in enumerate(kinks):
        for j, (other, other_jump) in enumerate(kinks):
            if not same or i <= j:
                copies = 2.0 if same and i < j else 1.0
                yield copies * jump * other_jump, k / one, other / two


def _mean(phi: Activation, q: Array) -> Array:
    """E[phi]."""
    if phi.odd:
        return np.zeros(np.shape(q))
    return np.sqrt(q) * gaussian.expectation(phi, q, lambda z, u, g: u)


def _mean_slope(phi: Activation, q: Array) -> Array:
    """E[phi']."""
    return gaussian.expectation(phi, q, lambda z, u, g: g * np.ones_like(z))


def _opposite(phi: Activation, q1: Array, q2: Array) -> tuple[Array, Array]:
    """E[phi(x) phi(-y)] and E[phi'(x) phi'(-y)] for x = sqrt(q1) z and y = sqrt(q2) z."""
    one, two = np.sqrt(q1)[..., None], np.sqrt(q2)[..., None]
    kinks, ends = np.array([at for at, _ in phi.kinks]), np.full_like(one, np.inf)
    knots = [-ends, kinks / one, -kinks / two, np.zeros_like(one), ends]
    cuts = np.sort(np.concatenate(knots, axis=-1), axis=-1)
    low, high = cuts[..., :-1], cuts[..., 1:]
    side, inner = np.where(low >= 0.0, 1.0, -1.0), np.where(low >= 0.0, low, -high)
    length = np.minimum(high - low, tail_length(inner))[..., None]
    z = side[..., None] * (inner[..., None] + length * NODES)
    weight = (length * WEIGHTS * np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)).reshape(*q1.shape, -1)
    z = z.reshape(weight.shape)
    x, y = one * z, -two * z
    values, slopes = phi(x) * phi(y), phi.derivative(x) * phi.derivative(y)
    return (weight * values).sum(axis=-1), (weight * slopes).sum(axis=-1)
