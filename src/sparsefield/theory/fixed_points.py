"""Every fixed point of a variance map, its stability, and the basin of q*."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .maps import VarianceMap
from .quadrature import Array
from .roots import bracketed_root

_CELL = 1.08  # ratio of neighbouring grid points; V bends over factors, not over per cents
_BESIDE = 1e-5  # relative distance from q* within which another fixed point is not told apart
_TOUCH = 1e-11  # |V(q) - q| / q that counts as zero: an extremum this close is a root of its own
_FLAT = 1e-13  # of q: what rounding alone makes of V(q) - q
_MARGIN = 1e-9  # a slope this close to +-1 counts as marginal, not stable


@dataclass(frozen=True)
class FixedPoint:
    """A variance q with V(q) = q; ``slope`` is V'(q), ``stable`` means abs(V'(q)) < 1."""

    q: float
    slope: float
    stable: bool

    @property
    def kind(self) -> str:
        """``stable``, ``marginal`` (abs(V') = 1 to rounding) or ``repels``."""
        if self.stable:
            return "stable"
        return "marginal" if abs(self.slope) < 1.0 + _MARGIN else "repels"

    def to_dict(self) -> dict[str, float | bool]:
        """Plain data for JSON."""
        return {"q": self.q, "slope": self.slope, "stable": self.stable}


@dataclass(frozen=True)
class Portrait:
    """The whole dynamics of a variance map around q*.

    Attributes
    ----------
    points
        every fixed point in (0, infinity), ascending.
    basin
        the interval around q* from which iterating V leads to q*.
    identity
        V(q) = q for every q (ReLU on its edge of chaos).
    """

    points: tuple[FixedPoint, ...]
    basin: tuple[float, float]
    identity: bool

    @property
    def unique(self) -> bool:
        """Whether q* is the only fixed point."""
        return len(self.points) == 1 and not self.identity


@dataclass(frozen=True)
class _Scan:
    """V(q) - q and its derivative on a grid; q* lies in the cell that starts at ``home``."""

    q: Array
    excess: Array
    tilt: Array
    home: int


def portrait(vmap: VarianceMap, q_star: float) -> Portrait:
    """Fixed points, stability and basin of ``vmap`` (one activation, not a batch).

    Parameters
    ----------
    vmap
        the variance map.
    q_star
        a fixed point known by construction; it is returned exactly.

    V(q) - q is scanned on a logarithmic grid over every scale of the activation, and a cell with
    an extremum that reaches across zero is split there, so that a close pair is found as well.
    """
    star = _fixed_point(vmap, q_star)
    scan = _scan(vmap, star)
    if (np.abs(scan.excess) < _TOUCH * scan.q).all():
        return Portrait((star,), (q_star, q_star), identity=True)
    others = [_fixed_point(vmap, q) for q in _roots(vmap, scan)] + _partner(star, scan)
    points = tuple(sorted([star, *others], key=lambda p: p.q))
    return Portrait(points, _basin(vmap, star, points, scan), identity=False)


def _partner(star: FixedPoint, scan: _Scan) -> list[FixedPoint]:
    """A repelling point too close to a stable q* for the grid, from the Taylor series at q*.

    V(q) - q = (V' - 1)(q - q*) + V''/2 (q - q*)^2 vanishes again at q* + 2 (1 - V') / V'', where
    the slope is 2 - V'.
    """
    caught = scan.excess[scan.home] < 0.0 or scan.excess[scan.home + 1] > 0.0
    if not (star.stable and caught):
        return []
    bend = (scan.tilt[scan.home + 1] - scan.tilt[scan.home]) / (2.0 * star.q * _BESIDE)
    return [FixedPoint(star.q + 2.0 * (1.0 - star.slope) / bend, 2.0 - star.slope, stable=False)]


def _fixed_point(vmap: VarianceMap, q: float) -> FixedPoint:
    slope = float(vmap.slope(q))
    return FixedPoint(q, slope, abs(slope) < 1.0 - _MARGIN)


def _scan(vmap: VarianceMap, star: FixedPoint) -> _Scan:
    grid = _grid(vmap, star.q)
    excess, tilt = vmap(grid) - grid, vmap.slope(grid) - 1.0
    # beside q* V(q) - q is all rounding; its Taylor series is not
    step = star.q * _BESIDE * np.array([-1.0, 1.0])
    bend = float(vmap.curvature(star.q))
    beside = (star.slope - 1.0) * step + 0.5 * bend * step**2
    keep = np.abs(grid - star.q) > 2.0 * star.q * _BESIDE
    home = int((grid[keep] < star.q).sum())
    return _Scan(
        np.insert(grid[keep], home, star.q + step),
        np.insert(excess[keep], home, beside),
        np.insert(tilt[keep], home, star.slope - 1.0 + bend * step),
        home,
    )


def _roots(vmap: VarianceMap, scan: _Scan) -> list[float]:
    """Roots of V(q) - q outside the home cell; a tangent root once."""
    f, df = scan.excess, scan.tilt
    flat = np.abs(f) < _FLAT * scan.q  # the sign there is rounding, not a crossing
    crosses = (f[:-1] * f[1:] < 0.0) & ~(flat[:-1] & flat[1:])
    dips = (f[:-1] * f[1:] > 0.0) & (f[:-1] * df[:-1] < 0.0) & (f[1:] * df[1:] > 0.0)
    found: list[float] = []
    dips &= ~(flat[:-1] | flat[1:])
    for i in np.flatnonzero(crosses | dips):
        if i == scan.home:
            continue
        low, high = float(scan.q[i]), float(scan.q[i + 1])
        found += [_crossing(vmap, low, high)] if crosses[i] else _dip(vmap, low, high, f[i])
    return found


def _crossing(vmap: VarianceMap, low: float, high: float) -> float:
    return bracketed_root(lambda q: float(vmap(q)) - q, low, high, what="fixed point")


def _dip(vmap: VarianceMap, low: float, high: float, side: float) -> list[float]:
    """Roots where V(q) - q turns around inside a cell: none, one (tangent) or two."""
    turn = bracketed_root(
        lambda q: float(vmap.slope(q)) - 1.0, low, high, what="extremum of V(q) - q"
    )
    depth = float(vmap(turn)) - turn
    if abs(depth) < _TOUCH * turn:
        return [turn]
    if depth * side > 0.0:
        return []
    return [_crossing(vmap, low, turn), _crossing(vmap, turn, high)]


def _grid(vmap: VarianceMap, q_star: float) -> Array:
    """Logarithmic grid that spans every q where V(q) = q can hold."""
    smallest = min(q_star, float((vmap.phi.scales**2).min(initial=q_star)))
    # V >= sigma_b2; and a hundredth below the smallest knot's reach V is linear
    low = float(vmap.sigma_b2) * (1.0 - 1e-12) or smallest / 100.0
    high = max(_upper_bound(vmap), 4.0 * q_star)
    cells = int(math.log(high / low) / math.log(_CELL)) + 2
    return np.exp(np.linspace(math.log(low), math.log(high), cells))


def _upper_bound(vmap: VarianceMap) -> float:
    """A q above which V(q) - q keeps its sign, from abs(phi(x)) <= c + s abs(x) and its tails."""
    left, right, offset = vmap.phi.growth
    if vmap.phi.bounded:
        return float(vmap.sigma_b2 + vmap.sigma_w2 * offset**2) * (1.0 + 1e-9)
    rise = float(vmap.sigma_w2) * (left**2 + right**2) / 2.0  # V(q) / q at infinity
    distance = max(abs(rise - 1.0), 1e-3)
    linear = float(2.0 * vmap.sigma_w2 * max(left, right) * offset)
    constant = float(vmap.sigma_b2 + vmap.sigma_w2 * offset**2)
    return 4.0 * ((linear + math.sqrt(linear**2 + 4.0 * distance * constant)) / distance / 2) ** 2


def _basin(
    vmap: VarianceMap, star: FixedPoint, points: tuple[FixedPoint, ...], scan: _Scan
) -> tuple[float, float]:
    """For an increasing V up to the neighbouring fixed points; else by iteration."""
    if abs(star.slope) > 1.0 + _MARGIN:
        return (star.q, star.q)
    if (scan.tilt < -1.0).any():
        return _basin_by_iteration(vmap, star.q, scan.q)
    low = max((p.q for p in points if p.q < star.q), default=0.0)
    high = min((p.q for p in points if p.q > star.q), default=math.inf)
    if star.stable:
        return (low, high)
    # V' = 1: q* attracts from the side where V(q) - q points at it
    below, above = scan.excess[scan.home] > 0.0, scan.excess[scan.home + 1] < 0.0
    return (low if below else star.q, high if above else star.q)


def _basin_by_iteration(vmap: VarianceMap, q_star: float, grid: Array) -> tuple[float, float]:
    """Ends of the run of grid points around q* whose orbit ends at q*."""
    orbit = grid
    for _ in range(400):
        orbit = vmap(orbit)
    lost = grid[np.abs(orbit / q_star - 1.0) > 1e-3]
    low = lost[lost < q_star].max(initial=0.0)
    high = lost[lost > q_star].min(initial=math.inf)
    return float(low), float(high)
