"""A function cut into panels on each of which a polynomial holds it, or an error that says where.

On a panel the interpolant is the Legendre series through 32 Gauss points. It is trusted only after
it has met the function at 140 points that it has not seen; where it misses, the panel is cut. Cuts
fall at irrational places, so that no kink hides on one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial.legendre import legder, leggauss, legval, legvander
from numpy.typing import ArrayLike, NDArray

from sparsefield.errors import InvalidInput

from .callables import Function
from .quadrature import Array

_ORDER = 32
_T, _W = leggauss(_ORDER)
_RATIO = 0.4876412  # where a panel is cut: no round number is ever hit
_SPREAD = np.concatenate(
    [_RATIO * (_T + 1.0) / 2.0, 1.0 - (1.0 - _RATIO) * (_T + 1.0) / 2.0, np.linspace(0.005, 1, 64)]
)
_INWARDS = 4.0 ** -np.arange(3.0, 21.0)  # towards the inner end: steps and kinks hide there
FRESH = np.concatenate([_INWARDS, _SPREAD[_SPREAD < 0.998]])  # of the width, from the inner end
FRESH_INSIDE = np.maximum(FRESH, 1e-6)  # the same, clear of a kink at the inner end
_ANALYSIS = legvander(_T, _ORDER - 1).T * _W * (np.arange(_ORDER)[:, None] + 0.5)
_AROUND = np.linspace(-1.0, 1.0, 34)  # where the size of phi is read; not at zero

TOLERANCE = 1e-13  # of the largest abs(phi) between -x and x
_ROUNDING = 16.0 * np.finfo(float).eps
_NARROW = 2.0**-24  # of its distance from zero: a panel this narrow holds a kink
_INNERMOST = 2.0**-60
_MOST = 4096


class End(NamedTuple):
    """The limits of phi and d phi / dy at an end, and by how much phi is in doubt."""

    value: float
    slope: float
    doubt: float


@dataclass(frozen=True)
class Panels:
    """P panels side by side, in the distance y = side x from zero.

    Attributes
    ----------
    low, high
        ``[P]``, ends in y, ascending.
    series
        ``[32, P]``, Legendre coefficients of phi(side y).
    error
        ``[P]``, largest miss of the series at the points it has not seen.
    curved
        ``[P]``, whether phi is more than a straight line there.
    """

    low: Array
    high: Array
    series: Array
    error: Array
    curved: Array

    def __getitem__(self, which: NDArray[Any]) -> Panels:
        return Panels(
            self.low[which],
            self.high[which],
            self.series[:, which],
            self.error[which],
            self.curved[which],
        )

    def __add__(self, other: Panels) -> Panels:
        return Panels(
            np.concatenate([self.low, other.low]),
            np.concatenate([self.high, other.high]),
            np.concatenate([self.series, other.series], axis=1),
            np.concatenate([self.error, other.error]),
            np.concatenate([self.curved, other.curved]),
        )

    @property
    def width(self) -> Array:
        """``[P]``, widths in y."""
        return self.high - self.low

    def end(self, which: int) -> End:
        """What phi tends to at the inner (0) or the outer (-1) end, from inside."""
        t = -1.0 if which == 0 else 1.0
        value = float(legval(t, self.series[:, which]))
        slope = float(legval(t, self._derivative[:, which]))
        return End(value, slope, float(self.error[which]))

    def derivative(self, t: Array) -> Array:
        """d phi / dy at the places ``t`` in [-1, 1] of each panel; ``t`` is ``[..., P, N]``."""
        return np.asarray(legval(t, self._derivative[:, :, None], tensor=False))

    def derivative_at(self, y: Array) -> Array:
        """d phi / dy at the distances ``y`` ``[n]`` from zero."""
        home = np.clip(np.searchsorted(self.low, y, side="right") - 1, 0, self.low.size - 1)
        t = 2.0 * (y - self.low[home]) / self.width[home] - 1.0
        return np.asarray(legval(t, self._derivative[:, home], tensor=False))

    @cached_property
    def _derivative(self) -> Array:
        """``[31, P]``, Legendre coefficients of d phi / dy."""
        return np.asarray(legder(self.series, axis=0) * (2.0 / self.width))


def cut(f: Function, side: float, low: float, high: float, parts: int = 1) -> Panels:
    """Panels from ``low`` to ``high`` (distances from zero) on which polynomials hold ``f``.

    Parameters
    ----------
    f
        phi, on arrays of x.
    side
        1 right of zero, -1 left of it.
    low, high
        ends with 0 <= low < high < inf.
    parts
        number of panels to begin with.

    Raises
    ------
    InvalidInput
        where no panel is narrow enough, naming the range.
    """
    ends = np.linspace(low, high, parts + 1)
    todo, done = np.stack([ends[:-1], ends[1:]]), []
    while todo.size:
        fit = _fit(f, side, todo)
        bad = fit.error > _tolerance(f, fit)
        _refuse(fit[bad], side, low, high)
        done.append(fit[~bad])
        todo = _halves(fit[bad])
    found = reduce(lambda one, other: one + other, done)
    return found[np.argsort(found.low)]


def size(f: Function, reach: ArrayLike) -> Array:
    """Largest abs(f) between -reach and reach, sampled; shape of ``reach``."""
    return np.asarray(np.abs(f(np.asarray(reach)[..., None] * _AROUND)).max(axis=-1))


def _fit(f: Function, side: float, ends: Array) -> Panels:
    low, high = ends
    at_nodes = f(side * (low + (high - low) * (_T[:, None] + 1.0) / 2.0))
    series = _ANALYSIS @ at_nodes
    fresh = np.where(low == 0.0, FRESH[:, None], FRESH_INSIDE[:, None])
    miss = f(side * (low + (high - low) * fresh)) - legval(2.0 * fresh - 1.0, series, tensor=False)
    bend, whole = np.abs(series[2:]).max(axis=0), np.abs(series).max(axis=0)
    return Panels(low, high, series, np.abs(miss).max(axis=0), bend > 1e-12 * whole)


def _tolerance(f: Function, fit: Panels) -> Array:
    """What the scale of phi allows, and what the rounding of x alone makes of phi."""
    rise = np.abs(fit.series[1:]).sum(axis=0)
    return np.asarray(TOLERANCE * size(f, fit.high) + _ROUNDING * fit.high / fit.width * rise)


def _halves(fit: Panels) -> Array:
    middle = fit.low + _RATIO * fit.width
    return np.stack([np.concatenate([fit.low, middle]), np.concatenate([middle, fit.high])])


def _refuse(bad: Panels, side: float, low: float, high: float) -> None:
    """An error if a panel that misses cannot be cut further."""
    if bad.low.size > _MOST:
        raise InvalidInput(
            f"phi is not smooth {_between(side, low, high)}: {_MOST} panels do not resolve it; "
            "it is noisy (compute it in float64, without randomness) or oscillates too fast"
        )
    narrow = np.where(bad.low > 0.0, bad.width < _NARROW * bad.high, bad.high < _INNERMOST)
    if not narrow.any():
        return
    first = bad[np.flatnonzero(narrow)[:1]]
    where = _between(side, float(first.low[0]), float(first.high[0]))
    if first.low[0] == low or first.high[0] == high:
        end = side * (low if first.low[0] == low else high) + 0.0
        raise InvalidInput(
            f"phi is singular at x = {end:g}, where it is cut already: it is no polynomial to "
            f"rounding even {where}; replace it near there by a smooth or a linear piece"
        )
    raise InvalidInput(f"phi is not smooth {where}: declare its kink there (kinks=...)")


def _between(side: float, low: float, high: float) -> str:
    left, right = sorted((side * low + 0.0, side * high + 0.0))  # + 0.0: no negative zero
    return f"between x = {left:.9g} and x = {right:.9g}"
