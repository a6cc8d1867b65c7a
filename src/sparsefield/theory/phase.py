"""Phase diagrams: what the edge of chaos is like over two of sparsity, clip, m and q*."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefield.errors import InvalidInput

from .closed_form import EdgeGrid, edge_grid
from .families import Family, family_named
from .fixed_point_count import count_fixed_points
from .maps import VarianceMap
from .operator import FLOOR, escape_probability
from .phase_axis import Axis as Axis
from .phase_axis import parameters
from .quadrature import Array

_MARGIN = 1e-9  # |V'| this close to 1 is marginal
_COARSE = (40, 30)  # points of the escape probability, columns x rows
_ALIKE = 0.01  # 1 - rho at which two inputs count as one

Progress = Callable[[int, int], None]


class Stability(IntEnum):
    """What the variance map does at q*."""

    NO_SOLUTION = 0  #: sigma_b2 would be negative
    REPELS = 1  #: abs(V') > 1
    MARGINAL = 2  #: abs(V') = 1: the unclipped families, or a clip that is never hit
    SEVERAL = 3  #: attracts, and other fixed points exist
    UNIQUE = 4  #: attracts, and is the only fixed point


MEANINGS = {
    "stability": "class of the fixed point q*",
    "fixed_points": "number of fixed points; -1: every q is one",
    "slope": "V'(q*)",
    "curvature": "V''(q*), units of 1/q",
    "chi1_slope": "d chi_1 / dq at q*, units of 1/q",
    "sigma_w2": "sigma_w^2",
    "sigma_b2": "sigma_b^2, units of q",
    "tau": "threshold, units of sqrt(q)",
    "saturation": "share of units at the clip",
    "depth_scale": "layers in which a change of variance fades to 1/e: -1 / log |V'|",
    "roughness": "kappa: at chi_1 = 1, 1 - rho falls as (2 / (kappa l))^2",
    "correlation_depth": "layers until 1 - rho = 0.01 by that power law: 20 / kappa",
    "escape": f"probability that Q leaves [q*/2, 2 q*]; {FLOOR:g} stands for at most that",
}


@dataclass(frozen=True, eq=False)
class Grid:
    """One quantity over the plane: ``values`` of shape [len(y), len(x)], NaN: no such network."""

    x: Array
    y: Array
    values: Array


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """Quantities of a family over two axes; :func:`phase_diagram` makes it.

    Attributes
    ----------
    family, chi1
        what was asked for.
    x, y
        the axes.
    fixed
        the parameters that are no axis, by name; ``width`` and ``depth`` if escape was asked for.
    grids
        a :class:`Grid` for each quantity, by name (keys of ``MEANINGS``); ``stability`` holds
        the numbers of :class:`Stability`.
    """

    family: str
    chi1: float
    x: Axis
    y: Axis
    fixed: Mapping[str, float]
    grids: Mapping[str, Grid]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for strict JSON: what is not finite is None."""
        return {
            "family": self.family,
            "chi1": self.chi1,
            "x": self.x.name,
            "y": self.y.name,
            "fixed": dict(self.fixed),
            "stability_classes": {kind.name.lower(): int(kind) for kind in Stability},
            "grids": {name: _plain(grid) for name, grid in self.grids.items()},
        }

    def __str__(self) -> str:
        held = "".join(f", {name} {value:g}" for name, value in self.fixed.items())
        head = f"{self.family}, chi_1 {self.chi1:g}{held}"
        return "\n".join([head, *map(_describe_axis, (self.x, self.y)), *self._rows()])

    def _rows(self) -> list[str]:
        rows = []
        for name, grid in self.grids.items():
            rows += _shares(grid) if name == "stability" else [_range(name, grid)]
        return rows


def phase_diagram(
    family: str,
    x: Axis,
    y: Axis,
    *,
    quantities: Sequence[str] = ("stability", "slope"),
    sparsity: float | None = None,
    clip: float | None = None,
    m: float | None = None,
    q: float | None = None,
    chi1: float = 1.0,
    width: int | None = None,
    depth: int | None = None,
    escape_size: tuple[int, int] = _COARSE,
    progress: Progress | None = None,
) -> PhaseDiagram:
    """The quantities of a family over two of ``sparsity``, ``clip``, ``m`` and ``q``.

    Parameters
    ----------
    family
        ``crelu``, ``cst``, ``relu`` or ``st``.
    x, y
        two different axes.
    quantities
        names in ``MEANINGS``; all but ``stability``, ``fixed_points`` (tens of thousands of
        points a second) and ``escape`` are closed forms (millions a second).
    sparsity, clip, m, q
        values of what is no axis. Sparsity is needed, and for the clipped families one of clip
        (m / sqrt(q*)) and m (absolute units); q is 1 unless given. At a fixed clip q* only
        changes the units; over q at a fixed m it is a stronger clip as well.
    width, depth
        of the network whose ``escape`` is asked for.
    escape_size
        columns and rows of the coarser grid on which ``escape`` is computed.
    progress
        called with (done, total) points of ``escape``.

    Raises
    ------
    InvalidInput
        an unknown quantity, a parameter missing, given twice or out of range.

    Source: [P24], V'(q*) over sparsity and m; [DT26]; escape is ours.

    >>> found = phase_diagram("crelu", Axis("sparsity", 0.6, 0.9, 2), Axis("clip", 1.0, 2.0, 2))
    >>> found.grids["stability"].values
    array([[4., 4.],
           [4., 3.]])
    """
    kind = family_named(family)
    held = {"sparsity": sparsity, "clip": clip, "m": m, "q": q}
    fixed = {name: float(value) for name, value in held.items() if value is not None}
    _known(quantities)
    fine = [name for name in quantities if name != "escape"]
    grids = _grids(kind, x, y, fixed, chi1, fine)
    if "escape" in quantities:
        if width is None or depth is None:
            raise InvalidInput("escape needs a width and a depth; give both, say 300 and 100")
        columns, rows = escape_size
        coarse = (x.resized(columns), y.resized(rows))
        grids["escape"] = _escape(kind, *coarse, fixed, chi1, width, depth, progress)
        fixed |= {"width": width, "depth": depth}
    ordered = {name: grids[name] for name in quantities}
    return PhaseDiagram(family, chi1, x, y, fixed, ordered)


def _grids(
    kind: Family, x: Axis, y: Axis, fixed: Mapping[str, float], chi1: float, names: Sequence[str]
) -> dict[str, Grid]:
    s, clip, q = parameters(kind, x, y, fixed)
    edge = edge_grid(kind.name, s, clip, q=q, chi1=chi1)
    counted = {"stability", "fixed_points"} & set(names)
    count = count_fixed_points(kind.name, s, clip, chi1=chi1) if counted else np.zeros(1, int)
    shape = (y.size, x.size)
    missing = np.broadcast_to(edge.sigma_b2 < 0.0, shape)
    grids = {}
    for name in names:
        values = np.broadcast_to(_quantity(name, edge, count), shape).astype(float)
        values[missing] = Stability.NO_SOLUTION if name == "stability" else np.nan
        grids[name] = Grid(x.values, y.values, values)
    return grids


def _quantity(name: str, edge: EdgeGrid, count: NDArray[np.int64]) -> NDArray[Any]:
    """One quantity of every point, sigma_b2 < 0 or not."""
    if name == "depth_scale":
        with np.errstate(divide="ignore"):
            return np.asarray(-1.0 / np.log(np.abs(edge.slope)))
    if name == "correlation_depth":
        return np.asarray(2.0 / (math.sqrt(_ALIKE) * edge.roughness))
    if name == "stability":
        return _stability(edge, count)
    return count if name == "fixed_points" else np.asarray(getattr(edge, name))


def _stability(edge: EdgeGrid, count: NDArray[np.int64]) -> NDArray[Any]:
    steepness = np.abs(edge.slope)
    conditions = (steepness > 1.0 + _MARGIN, steepness > 1.0 - _MARGIN, count != 1)
    kinds = (Stability.REPELS, Stability.MARGINAL, Stability.SEVERAL)
    return np.select(np.broadcast_arrays(*conditions), kinds, Stability.UNIQUE)


def _known(quantities: Sequence[str]) -> None:
    unknown = [name for name in quantities if name not in MEANINGS]
    if unknown or not quantities:
        what = f"quantity {unknown[0]!r} is unknown" if unknown else "no quantity given"
        raise InvalidInput(f"{what}; choose from {', '.join(MEANINGS)}")


def _escape(
    kind: Family,
    x: Axis,
    y: Axis,
    fixed: Mapping[str, float],
    chi1: float,
    width: int,
    depth: int,
    progress: Progress | None,
) -> Grid:
    """Point by point, in units q* = 1: the escape probability does not know the units."""
    s, clip, _ = parameters(kind, x, y, fixed)
    edge = edge_grid(kind.name, s, clip, chi1=chi1)
    heights = np.broadcast_to(math.inf if clip is None else clip, (y.size, x.size))
    tau, sigma_w2, sigma_b2 = (
        np.broadcast_to(v, heights.shape) for v in (edge.tau, edge.sigma_w2, edge.sigma_b2)
    )
    values = np.full(heights.shape, np.nan)
    for done, at in enumerate(np.ndindex(*heights.shape), start=1):
        if sigma_b2[at] >= 0.0:
            phi = kind.activation(tau[at], heights[at])
            vmap = VarianceMap(phi, float(sigma_w2[at]), float(sigma_b2[at]))
            values[at] = _escape_probability(vmap, width, depth)
        if progress is not None:
            progress(done, heights.size)
    return Grid(x.values, y.values, values)


def _escape_probability(vmap: VarianceMap, width: int, depth: int) -> float:
    return max(FLOOR, escape_probability(vmap, 1.0, width=width, depth=depth))


def _plain(grid: Grid) -> dict[str, Any]:
    values = grid.values.astype(object)
    values[~np.isfinite(grid.values)] = None
    return {"x": grid.x.tolist(), "y": grid.y.tolist(), "values": values.tolist()}


def _describe_axis(axis: Axis) -> str:
    return f"{axis.name:<18}{axis.low:g} to {axis.high:g}, {axis.size} values"


def _range(name: str, grid: Grid) -> str:
    finite = grid.values[np.isfinite(grid.values)]
    if not finite.size:
        return f"{name:<18}nowhere finite"
    return f"{name:<18}{finite.min():.4g} to {finite.max():.4g}"


def _shares(grid: Grid) -> list[str]:
    """The share of the plane that each class holds, of those that occur."""
    shares = {kind: float((grid.values == kind).mean()) for kind in Stability}
    return [
        f"{kind.name.lower().replace('_', ' '):<18}{100 * share:.1f} % of the plane"
        for kind, share in shares.items()
        if share > 0.0
    ]
