"""Piecewise-linear activations as data: knots, slopes, values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sparsefield.errors import InvalidInput

from .quadrature import Array, Nodes, split_rule, tail_length


class HalfPiece(NamedTuple):
    """One linear piece on one side of zero: phi(x) = value + slope t at x = side (inner + t).

    ``inner >= 0`` is the end nearer to zero and ``0 <= t <= width``; ``slope`` is d phi / d t.
    Anchoring at the inner end keeps every Gaussian moment a sum of well-scaled terms. ``copies``
    is 2 for a piece that stands for its mirror image as well (odd phi).
    """

    side: float
    inner: Array
    width: Array
    value: Array
    slope: float
    copies: float = 1.0

    @property
    def is_flat(self) -> bool:
        """Whether phi is constant here."""
        return self.slope == 0.0

    @property
    def is_off(self) -> bool:
        """Whether phi is exactly zero here."""
        return self.is_flat and not self.value.any()

    def nodes(self, root_q: Array, panels: int = 1) -> Nodes:
        """Quadrature nodes of this piece under N(0, q), measured from its inner end."""
        a = (self.inner / root_q)[..., None]
        length = np.minimum((self.width / root_q)[..., None], tail_length(a))
        nodes, weights = split_rule(panels)
        t = length * nodes
        with np.errstate(over="ignore", under="ignore"):
            height = np.exp(-0.5 * a * a) / np.sqrt(2.0 * np.pi)
            weight = height * (length * weights * np.exp(-t * (a + 0.5 * t)))
            u = (self.value / root_q)[..., None] + self.slope * t
        return Nodes(weight, self.side * (a + t), u, np.asarray(self.side * self.slope))


@dataclass(frozen=True, eq=False)
class PiecewiseLinear:
    """A continuous piecewise-linear function of one real variable.

    Parameters
    ----------
    knots
        ``[..., K]``, non-decreasing along the last axis, K >= 1. Leading axes hold a batch
        of activations of the same shape (a phase diagram's grid).
    slopes
        ``[K + 1]``, the slope left of, between and right of the knots.
    values
        ``[..., K]``, phi at the knots.

    Raises
    ------
    InvalidInput
        on shapes that do not match, unsorted or non-finite knots, or values and
        slopes that contradict each other.

    >>> crelu(tau=1.0, m=2.0)(np.array([0.5, 2.0, 9.0]))
    array([0., 1., 2.])
    """

    knots: Array
    slopes: Array
    values: Array

    def __post_init__(self) -> None:
        knots, values = np.broadcast_arrays(
            np.asarray(self.knots, dtype=float), np.asarray(self.values, dtype=float)
        )
        object.__setattr__(self, "knots", knots)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "slopes", np.asarray(self.slopes, dtype=float))
        _check(self)

    def __call__(self, x: ArrayLike) -> Array:
        """phi(x), elementwise, in the precision of ``x``; one activation only.

        A sum of clipped ramps, one a sloped piece, outwards from the knot where phi is smallest:
        what is off is exactly zero.
        """
        x = np.asarray(x)
        x = x if np.issubdtype(x.dtype, np.floating) else x.astype(float)
        base = int(np.argmin(np.abs(self.values)))
        ends = [-np.inf, *self.knots.tolist(), np.inf]
        total = np.full_like(x, self.values[base])
        for i, slope in enumerate(self.slopes.tolist()):
            if slope != 0.0:
                anchor = ends[i] if i > base else ends[i + 1]
                total += slope * (np.clip(x, ends[i], ends[i + 1]) - anchor)
        return np.asarray(total)

    def derivative(self, x: ArrayLike) -> Array:
        """phi'(x), elementwise; at a knot the slope to its right. One activation only."""
        return np.asarray(self.slopes[np.searchsorted(self.knots, x, side="right")])

    @property
    def kinks(self) -> list[tuple[float, float]]:
        """(position, change of slope) of every knot of one activation."""
        return list(zip(self.knots.tolist(), np.diff(self.slopes).tolist(), strict=True))

    @property
    def batch(self) -> tuple[int, ...]:
        """Shape of the batch of activations; () for one."""
        return self.knots.shape[:-1]

    @property
    def scales(self) -> Array:
        """Distances of the knots from zero, ascending, without zero."""
        return np.unique(np.abs(self.knots[self.knots != 0.0]))

    @property
    def bounded(self) -> bool:
        """Whether both tails are flat."""
        return bool(self.slopes[0] == 0.0 == self.slopes[-1])

    @property
    def growth(self) -> tuple[float, float, float]:
        """(left slope, right slope, c): abs(phi(x)) <= c + slope abs(x) on either side of zero."""
        tails = self.slopes[[0, -1]]
        if self.bounded:
            return 0.0, 0.0, float(np.abs(self.values).max())
        offset = float(np.abs(self.values[..., [0, -1]] - tails * self.knots[..., [0, -1]]).max())
        return float(abs(tails[0])), float(abs(tails[1])), offset

    @property
    def odd(self) -> bool:
        """Whether phi(-x) = -phi(x)."""
        return (
            np.array_equal(self.slopes, self.slopes[::-1])
            and np.array_equal(self.knots, -self.knots[..., ::-1])
            and np.array_equal(self.values, -self.values[..., ::-1])
        )

    @cached_property
    def half_pieces(self) -> list[HalfPiece]:
        """Every linear piece, cut at zero and oriented outwards; the right half only if odd."""
        halves = [h for i in range(len(self.slopes)) for h in self._cut_at_zero(i)]
        halves = [h for h in halves if np.any(h.width > 0.0)]
        if self.odd:
            return [h._replace(copies=2.0) for h in halves if h.side > 0.0]
        return halves

    def _cut_at_zero(self, i: int) -> tuple[HalfPiece, HalfPiece]:
        """Piece ``i`` as its part right of zero and its part left of zero."""
        left = (self.knots[..., i - 1], self.values[..., i - 1]) if i > 0 else None
        right = (self.knots[..., i], self.values[..., i]) if i < len(self.slopes) - 1 else None
        slope = float(self.slopes[i])
        return (
            _outward(1.0, slope, left, right),
            _outward(-1.0, -slope, _mirror(right), _mirror(left)),
        )


_End = tuple[Array, Array] | None


def _mirror(end: _End) -> _End:
    return None if end is None else (-end[0], end[1])


def _outward(side: float, slope: float, low: _End, high: _End) -> HalfPiece:
    """The part at y = side x >= 0 of the piece between the ends ``low`` and ``high`` in y."""
    anchor = low if high is None else high
    if low is not None and high is not None:
        nearer = np.abs(low[0]) <= np.abs(high[0])
        anchor = (np.where(nearer, low[0], high[0]), np.where(nearer, low[1], high[1]))
    assert anchor is not None  # K >= 1: a piece has at least one end
    at_zero = anchor[1] - slope * anchor[0]
    if low is None:
        inner, value = np.zeros_like(anchor[0]), at_zero
    else:
        inner = np.maximum(low[0], 0.0)
        value = np.where(low[0] >= 0.0, low[1], at_zero)
    return HalfPiece(side, inner, _width(slope, low, high), value, slope)


def _width(slope: float, low: _End, high: _End) -> Array:
    """Length at y >= 0; from the values where they resolve it better than the knots do."""
    if high is None:
        return np.full_like(low[0] if low is not None else np.zeros(()), np.inf)
    if low is None:
        return np.maximum(high[0], 0.0)
    width = np.maximum(high[0], 0.0) - np.maximum(low[0], 0.0)
    if slope == 0.0:
        return width
    # a clip m far below the ulp of tau is lost in the knots tau, tau + m but not in the values
    finer = np.maximum(np.abs(low[1]), np.abs(high[1])) < abs(slope) * np.abs(high[0])
    return np.where((low[0] >= 0.0) & finer, (high[1] - low[1]) / slope, width)


def _check(phi: PiecewiseLinear) -> None:
    knots, slopes, values = phi.knots, phi.slopes, phi.values
    if knots.ndim == 0 or slopes.shape != (knots.shape[-1] + 1,):
        raise InvalidInput(
            f"{np.shape(knots)} knots with {slopes.shape} slopes: K knots need K + 1 slopes and "
            "K >= 1; add a knot where two pieces meet"
        )
    if not (np.isfinite(knots).all() and np.isfinite(slopes).all() and np.isfinite(values).all()):
        raise InvalidInput("knots, slopes and values must be finite; found NaN or infinity")
    steps = np.diff(knots, axis=-1)
    if (steps < 0.0).any():
        raise InvalidInput(f"knots {knots.tolist()} must not decrease; sort them")
    miss = np.abs(np.diff(values, axis=-1) - slopes[1:-1] * steps)
    scale = np.abs(values).max() + np.abs(slopes).max() * np.abs(knots).max()
    if (miss > 1e-9 * scale).any():
        raise InvalidInput(
            "values at the knots must follow from the slopes (phi is continuous); "
            f"they differ by {miss.max():.3g}; recompute values[i + 1] = "
            "values[i] + slopes[i + 1] (knots[i + 1] - knots[i])"
        )


def _columns(*columns: ArrayLike) -> Array:
    return np.stack(np.broadcast_arrays(*(np.asarray(c, dtype=float) for c in columns)), axis=-1)


def crelu(tau: ArrayLike, m: ArrayLike) -> PiecewiseLinear:
    """Clipped shifted ReLU, ``min(max(x - tau, 0), m)`` [P24, DT26]."""
    tau, m = np.asarray(tau, dtype=float), np.asarray(m, dtype=float)
    return PiecewiseLinear(_columns(tau, tau + m), np.array([0.0, 1.0, 0.0]), _columns(0.0, m))


def cst(tau: ArrayLike, m: ArrayLike) -> PiecewiseLinear:
    """Clipped soft threshold, ``sign(x) min(max(|x| - tau, 0), m)`` [P24, DT26]."""
    tau, m = np.asarray(tau, dtype=float), np.asarray(m, dtype=float)
    return PiecewiseLinear(
        _columns(-tau - m, -tau, tau, tau + m),
        np.array([0.0, 1.0, 0.0, 1.0, 0.0]),
        _columns(-m, 0.0, 0.0, m),
    )


def shifted_relu(tau: ArrayLike) -> PiecewiseLinear:
    """Shifted ReLU, ``max(x - tau, 0)`` [P24]."""
    return PiecewiseLinear(_columns(tau), np.array([0.0, 1.0]), _columns(0.0))


def soft_threshold(tau: ArrayLike) -> PiecewiseLinear:
    """Soft threshold, ``sign(x) max(|x| - tau, 0)`` [P24]."""
    tau = np.asarray(tau, dtype=float)
    return PiecewiseLinear(_columns(-tau, tau), np.array([1.0, 0.0, 1.0]), _columns(0.0, 0.0))


def relu() -> PiecewiseLinear:
    """ReLU, max(x, 0)."""
    return shifted_relu(0.0)


def leaky_relu(negative_slope: float = 0.01) -> PiecewiseLinear:
    """Leaky ReLU, max(x, 0) + negative_slope min(x, 0)."""
    return PiecewiseLinear(_columns(0.0), np.array([negative_slope, 1.0]), _columns(0.0))


def hard_tanh(m: ArrayLike = 1.0) -> PiecewiseLinear:
    """Hard tanh, min(max(x, -m), m)."""
    m = np.asarray(m, dtype=float)
    return PiecewiseLinear(_columns(-m, m), np.array([0.0, 1.0, 0.0]), _columns(-m, m))
