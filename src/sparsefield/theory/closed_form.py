"""The edge of chaos of the four families in closed form, millions of points a second.

In units q* = 1 a member is its threshold a = tau / sqrt(q*) and its clip c = m / sqrt(q*); let
b = a + c. All terms are divided by the density p(a). With Mills' ratio H(x) = (1 - Phi(x)) / p(x) =
sqrt(pi / 2) erfcx(x / sqrt(2)) and r = p(b) / p(a) = exp(-c (a + c / 2)) nothing overflows:

    M = P / p(a) = H(a) - r H(b),           V'' = (a - r (b + c (b^2 - 1))) / (2 M),
    V' = 1 - c r / M,                       chi_1'(q*) = (a - r b) / (2 M),
    E[phi^2] / P = 1 + a^2 + ((a - c) r - a + c^2 r H(b)) / M,

times chi_1 where it is not 1. The two-sided pair has the same ratios at the same a, and half of
sigma_w2. For c < 1/4 these differences lose digits as eps / c^2: there the same integrals over the
slope, [a, b], are summed from a by a short Gauss-Legendre rule, which cancels nothing.

Against arbitrary precision, for s from 1e-6 to 1 - 1e-12 and c from 1e-9 to 1e9, the error stays
below 1e-13 of the value (for what crosses zero, sigma_b2, chi_1', and V' and V'' at s < 1/2, of
the larger of its value and 1). :mod:`sparsefield.theory.gaussian` is the slower route, for any
activation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfcx

from sparsefield.errors import InvalidInput

from .families import Family, family_named
from .quadrature import Array

_NARROW = 0.25  # clips below: summed, not subtracted
_NEVER_HIT = (
    60.0  # in units of sqrt(q*): with a > -22 nothing is left at the clip in double precision
)
_LOWEST = 1e-100  # sparsity; a > -21.3
_BLOCK = 16384  # points at a time: what they need stays in the cache
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_RULE = tuple(zip((_NODES + 1.0) / 2.0, _WEIGHTS / 2.0, strict=True))
_KINK = 2.0 / (3.0 * math.sqrt(math.pi))  # kappa of a slope that jumps by 1, over its density
_ROUNDING = 1e-13  # of q*: sigma_b2 within this of zero is zero


@dataclass(frozen=True, eq=False)
class EdgeGrid:
    """The edge of chaos at every point of a grid, and what follows; arrays of one shape.

    Attributes
    ----------
    tau
        threshold, in the units of the pre-activation (sqrt(q*)).
    sigma_w2
        variance of the weights times fan_in.
    sigma_b2
        variance of the biases, in units of q; where negative, no such network exists.
    slope, curvature
        V'(q*) and V''(q*) (units of 1/q).
    chi1_slope
        d chi_1 / dq at q* (units of 1/q).
    saturation
        share of units at the clip.
    roughness
        kappa in R(1 - delta) = 1 - chi_1 delta + kappa delta^(3/2) + ..., the correlation map at
        the edge: at chi_1 = 1, 1 - rho falls as (2 / (kappa l))^2 with depth l.
    """

    tau: Array
    sigma_w2: Array
    sigma_b2: Array
    slope: Array
    curvature: Array
    chi1_slope: Array
    saturation: Array
    roughness: Array


class _Ratios(NamedTuple):
    """In units q* = 1 and chi_1 = 1: M, its share at the clip, and moments over P."""

    mass: Array
    top: Array
    second: Array
    slope: Array
    curvature: Array
    chi1_slope: Array
    roughness: Array


def edge_grid(
    family: str,
    sparsity: ArrayLike,
    clip: ArrayLike | None = None,
    *,
    q: ArrayLike = 1.0,
    chi1: float = 1.0,
) -> EdgeGrid:
    """The edge-of-chaos initialisation of every point of a grid.

    Parameters
    ----------
    family
        ``crelu`` or ``cst``, which need ``clip``; ``relu`` or ``st``, which take none.
    sparsity
        s in [1e-100, 1), share of exact zeros at q*.
    clip
        m / sqrt(q*) > 0.
    q
        q* > 0. ``sparsity``, ``clip`` and ``q`` broadcast.
    chi1
        factor on squared gradients per layer; 1 is the edge of chaos.

    Raises
    ------
    InvalidInput
        a value outside its range, an unknown family, a clip missing or in the way.

    Source: [P24], [DT26]; scaled by Mills' ratio here. Where :func:`solve` raises
    ``NegativeBiasVariance`` or ``Unstable``, this returns sigma_b2 < 0 or abs(V') > 1.

    >>> grid = edge_grid("crelu", 0.9, [0.5, 1.0, 1.5, 2.0])
    >>> grid.slope.round(3), grid.sigma_b2.round(3)
    (array([0.348, 0.667, 0.872, 0.963]), array([0.783, 0.671, 0.625, 0.611]))
    """
    kind = family_named(family)
    s, c, variance = _checked(kind, sparsity, clip, q, chi1)
    threshold = kind.threshold(s)
    shape = np.broadcast_shapes(s.shape, c.shape, variance.shape)
    rows = [_as_rows(x, len(shape)) for x in (threshold, c, variance)]
    found = EdgeGrid(*(np.empty(shape or (1,)) for _ in fields(EdgeGrid)))
    for block in _blocks(shape or (1,)):
        a, clips, scale = (x if len(x) == 1 else x[block] for x in rows)
        _fill(found, block, kind, _ratios(a, clips), a=a, q=scale, chi1=chi1)
    return EdgeGrid(*(getattr(found, f.name).reshape(shape) for f in fields(EdgeGrid)))


def _fill(
    found: EdgeGrid,
    block: slice,
    kind: Family,
    ratios: _Ratios,
    *,
    a: Array,
    q: Array,
    chi1: float,
) -> None:
    """Write one block in the units of ``q``: the scale identity."""
    sides = 2.0 if kind.two_sided else 1.0
    density = np.exp(-0.5 * a * a) / math.sqrt(2.0 * math.pi)
    bias = 1.0 - chi1 * ratios.second
    bias[np.abs(bias) < _ROUNDING] = 0.0
    found.tau[block] = a * np.sqrt(q)
    found.sigma_w2[block] = chi1 / (sides * density * ratios.mass)
    found.sigma_b2[block] = bias * q
    found.slope[block] = chi1 * ratios.slope
    found.curvature[block] = chi1 * ratios.curvature / q
    found.chi1_slope[block] = chi1 * ratios.chi1_slope / q
    found.saturation[block] = sides * density * ratios.top
    found.roughness[block] = chi1 * ratios.roughness


def _ratios(a: Array, c: Array) -> _Ratios:
    """Each point by the form that keeps its digits."""
    narrow = c < _NARROW
    if not narrow.any():
        return _wide(a, c)
    if narrow.all():
        return _narrow(a, c)
    a, c = np.broadcast_arrays(a, c)
    narrow = c < _NARROW
    found = _Ratios(*(np.empty(a.shape) for _ in _Ratios._fields))
    for where, form in ((narrow, _narrow), (~narrow, _wide)):
        for whole, part in zip(found, form(a[where], c[where]), strict=True):
            whole[where] = part
    return found


def _wide(a: Array, c: Array) -> _Ratios:
    """The closed forms above."""
    b = a + c
    r = _fall(a, c)
    far, behind = r * _mills(np.abs(b)), b < 0.0
    mass = np.where(behind, far - _mills(-a), _mills(a) - far)
    top = _above(a, far, behind)
    return _Ratios(
        mass,
        top,
        1.0 + a * a + ((a - c) * r - a + c * c * top) / mass,
        1.0 - c * r / mass,
        (a - r * (b + c * (b * b - 1.0))) / (2.0 * mass),
        (a - r * b) / (2.0 * mass),
        _KINK * (1.0 + r) / mass,
    )


def _narrow(a: Array, c: Array) -> _Ratios:
    """Sums over the slope at t = c x of powers of x times p(a + t) / p(a)."""
    shape = np.broadcast_shapes(a.shape, c.shape)
    mass, second, slope, bend, curve = (np.zeros(shape) for _ in range(5))
    for x, weight in _RULE:
        z = a + c * x
        e = weight * _fall(a, c * x)
        ramp, square = x * e * z, z * z
        mass += e
        second += x * x * e
        slope += ramp
        bend += e * (square - 1.0)
        curve += ramp * (square - 3.0)
    b, r = a + c, _fall(a, c)
    top = _above(a, r * _mills(np.abs(b)), b < 0.0)
    return _Ratios(
        c * mass,
        top,
        c * (top + c * second) / mass,
        c * slope / mass,
        0.5 * c * curve / mass,
        0.5 * bend / mass,
        _KINK * (1.0 + r) / mass / c,
    )


def _mills(x: Array) -> Array:
    return np.asarray(math.sqrt(math.pi / 2.0) * erfcx(x / math.sqrt(2.0)))


def _fall(a: Array, t: Array) -> Array:
    """p(a + t) / p(a)."""
    return np.asarray(np.exp(-t * (a + 0.5 * t)))


def _above(a: Array, far: Array, behind: NDArray[np.bool_]) -> Array:
    """(1 - Phi(b)) / p(a), from ``far`` = the smaller of both tails at b, over p(a)."""
    if not behind.any():
        return far
    return np.where(behind, math.sqrt(2.0 * math.pi) * np.exp(0.5 * a * a) - far, far)


def _as_rows(x: Array, axes: int) -> Array:
    """``x`` with as many axes as the grid, at least one."""
    return x.reshape((1,) * (max(axes, 1) - x.ndim) + x.shape)


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the first axis that hold about ``_BLOCK`` points."""
    step = max(1, _BLOCK // max(1, math.prod(shape[1:])))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def _checked(
    kind: Family, sparsity: ArrayLike, clip: ArrayLike | None, q: ArrayLike, chi1: float
) -> tuple[Array, Array, Array]:
    """The arrays, in range; the clip of an unclipped family is one that is never hit."""
    if kind.clipped and clip is None:
        raise InvalidInput(f"no clip given for {kind.name}: it needs one; try clip 1.0")
    if not kind.clipped and clip is not None:
        raise InvalidInput(f"clip given for {kind.name}, which has none; use c{kind.name}")
    s, c, variance = (
        np.asarray(x, dtype=float) for x in (sparsity, _NEVER_HIT if clip is None else clip, q)
    )
    _within("sparsity", s, _LOWEST, 1.0, "must lie in [1e-100, 1); try 0.9")
    _within("clip", c, 1e-150, math.inf, "must be positive and finite; try 1.0")
    _within("q", variance, 1e-300, math.inf, "a variance must be positive and finite; try 1.0")
    _within("chi1", np.asarray(chi1), 1e-300, math.inf, "must be positive and finite; try 1.0")
    return s, np.minimum(c, _NEVER_HIT), variance


def _within(name: str, values: Array, low: float, high: float, rule: str) -> None:
    bad = values[~((values >= low) & (values < high))]
    if bad.size:
        raise InvalidInput(f"{name} {float(bad.flat[0])!r}: {rule}")
