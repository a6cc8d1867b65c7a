"""A phase diagram as a picture: one panel a quantity, contours with their values on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefield.errors import require
from sparsefield.pictures.plotting import INK, QUIET, new_figure, styled
from sparsefield.theory.phase import Grid, PhaseDiagram, Stability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Region = NDArray[np.bool_]
Array = NDArray[np.float64]
_BLUE, _RED = "#7fb2d6", "#e3a27a"  # light enough for black type
_SAFE = 0.01
_ENDS: tuple[tuple[Any, float], ...] = ((np.min, np.inf), (np.max, -np.inf))
_AXES = {
    "sparsity": "sparsity $s$",
    "clip": r"clip $m/\sqrt{q^*}$",
    "m": "clip height $m$",
    "q": "variance $q^*$",
}
_CLASSES = {
    Stability.REPELS: ("repels: $|V'| > 1$", "#e3a27a"),
    Stability.MARGINAL: ("marginal: $V' = 1$", "#f3d9a4"),
    Stability.SEVERAL: ("attracts,\nhas rivals", "#f6e3d3"),
    Stability.UNIQUE: ("attracts,\nunique", "#d5e8d9"),
}


@dataclass(frozen=True)
class _Scale:
    """How a quantity is drawn: title, contours, colours, and ``chance`` for probabilities."""

    title: str
    levels: tuple[float, ...]
    signed: bool = False
    chance: bool = False


_SCALES = {
    "stability": _Scale("Fixed point $q^*$", ()),
    "fixed_points": _Scale("Number of fixed points", (1.5, 2.5)),
    "slope": _Scale("Slope $V'(q^*)$", (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)),
    "curvature": _Scale("Curvature $V''(q^*)$", (-5, -1, -0.2, 0, 0.2, 1, 5, 20), True),
    "chi1_slope": _Scale("$d\\chi_1/dq$ at $q^*$", (-5, -1, -0.2, 0, 0.2, 1, 5, 20), True),
    "sigma_w2": _Scale(r"Weights, $\sigma_w^2$", (2, 3, 5, 10, 20, 50, 100, 200, 500)),
    "sigma_b2": _Scale(
        r"Biases, $\sigma_b^2$", (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 2, 5)
    ),
    "tau": _Scale(r"Threshold $\tau$", (-0.5, 0, 0.5, 1, 1.5, 2, 3, 5), True),
    "saturation": _Scale("Share at the clip", (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3)),
    "depth_scale": _Scale("Depth scale of $q$ (layers)", (0.5, 1, 2, 3, 5, 10, 20, 50, 100, 1000)),
    "roughness": _Scale(r"Roughness $\kappa$ of $R(\rho)$", (0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10)),
    "correlation_depth": _Scale(
        r"Layers until $1-\rho = 0.01$", (3, 5, 7, 10, 15, 20, 30, 40, 50, 60)
    ),
    "escape": _Scale("Escape probability", (1e-6, 0.01, 0.1, 0.5, 0.9, 0.99), chance=True),
}

# 90 % zeros under a growing clip, the points of docs/theory.md, on the plane that holds them
_MARKED = ("crelu", "sparsity", "clip")
_MARKS = tuple((0.9, clip) for clip in (0.5, 1.0, 1.5, 2.0))


def phase_figure(diagram: PhaseDiagram) -> Figure:
    """One panel for each quantity of the diagram; sigma_b2 < 0 is hatched."""
    return styled(lambda: _phase_figure(diagram))


def _phase_figure(diagram: PhaseDiagram) -> Figure:
    count = len(diagram.grids)
    columns = min(count, 2)
    rows = -(-count // columns)
    figure = new_figure(5.5 if columns == 2 else 3.5, 2.75 * rows + 0.25)
    for index, name in enumerate(diagram.grids):
        axes = figure.add_subplot(rows, columns, index + 1)
        draw_quantity(axes, diagram, name)
        axes.set_xlabel(_AXES[diagram.x.name])
        if index % columns == 0:
            axes.set_ylabel(_AXES[diagram.y.name])
    figure.suptitle(_heading(diagram), x=0.01, ha="left", fontsize=9, color=QUIET)
    return figure


def _heading(diagram: PhaseDiagram) -> str:
    symbols = {"m": "$m$", "q": "$q^*$", "clip": r"$m/\sqrt{q^*}$", "sparsity": "$s$"}
    fixed = [f"{symbols.get(name, name)} = {value:g}" for name, value in diagram.fixed.items()]
    if diagram.chi1 != 1.0:
        fixed.append(rf"$\chi_1$ = {diagram.chi1:g}")
    return ", ".join([diagram.family.upper().replace("RELU", "ReLU"), *fixed])


def draw_quantity(axes: Axes, diagram: PhaseDiagram, name: str) -> None:
    """One panel of :func:`phase_figure`, without the labels of its axes."""
    grid = diagram.grids[name]
    axes.grid(visible=False)
    _scale_axes(axes, diagram)
    if name == "stability":
        _draw_classes(axes, grid)
    else:
        _draw_contours(axes, grid, _SCALES[name])
    _hatch(axes, grid, np.isnan(grid.values) | ((name == "stability") & (grid.values == 0.0)))
    if (diagram.family, diagram.x.name, diagram.y.name) == _MARKED:
        axes.plot(*zip(*_MARKS, strict=True), "o", ms=4, color=INK, mec="white", mew=0.8)
    axes.set_title(_SCALES[name].title)
    axes.set_xlim(grid.x[0], grid.x[-1])
    axes.set_ylim(grid.y[0], grid.y[-1])


def _scale_axes(axes: Axes, diagram: PhaseDiagram) -> None:
    """Variances by ratio, with plain numbers."""
    plain = require("matplotlib.ticker", "report").FormatStrFormatter("%g")
    for axis, scale in ((diagram.x, axes.set_xscale), (diagram.y, axes.set_yscale)):
        if axis.name == "q":
            scale("log")
            (axes.xaxis if axis is diagram.x else axes.yaxis).set_major_formatter(plain)


def _draw_contours(axes: Axes, grid: Grid, scale: _Scale) -> None:
    finite = np.isfinite(grid.values)
    low, high = (f(grid.values, where=finite, initial=i) for f, i in _ENDS)
    levels = [level for level in scale.levels if low < level < high]
    if not levels:
        _name(axes, grid, ~np.isnan(grid.values), _everywhere(float(low), float(high)))
        return
    names = {level: _percent(level) if scale.chance else _plain(level) for level in levels}
    shades = _safe_to_not(levels) if scale.chance else _shades(levels, signed=scale.signed)
    at = _log_odds if scale.chance else np.ma.masked_invalid
    drawn = [float(at(level)) for level in levels]  # chances change by factors, and so do odds
    whole = at(_continued(grid.values))
    axes.contourf(grid.x, grid.y, whole, levels=[-np.inf, *drawn, np.inf], colors=shades)
    solid: dict[str, Any] = {"colors": INK, "linewidths": 0.8, "linestyles": "solid"}
    lines = axes.contour(grid.x, grid.y, at(grid.values), levels=drawn, **solid)
    labels = dict(zip(drawn, names.values(), strict=True))
    axes.clabel(lines, fmt=labels, fontsize=8, inline_spacing=2)


def _everywhere(low: float, high: float) -> str:
    """What stands where no contour passes."""
    if low > high:
        return "nowhere finite"
    return f"{low:.3g}" if high - low <= 1e-9 * abs(high) else f"{low:.2g} to {high:.2g}"


def _percent(p: float) -> str:
    return f"{100 * p:g} %" if p > 1e-3 else f"$10^{{{round(np.log10(p))}}}$"


def _plain(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _continued(values: Array) -> Array:
    """Where there is none, the nearest value: what is hatched over has no ragged edge."""
    from scipy.ndimage import distance_transform_edt

    missing = ~np.isfinite(values)
    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])


def _log_odds(p: Any) -> Any:
    inside = np.ma.masked_invalid(np.clip(p, 1e-15, 1.0 - 1e-15))
    return np.log(inside) - np.log1p(-inside)


def _safe_to_not(levels: Sequence[float]) -> list[Any]:
    """Green up to one in a hundred, then white to red."""
    colours = require("matplotlib.colors", "report")
    safe = sum(level <= _SAFE for level in levels)
    ramp = colours.LinearSegmentedColormap.from_list("ramp", ["#fbf1e9", _RED])
    green = _CLASSES[Stability.UNIQUE][1]
    return [green] * safe + list(ramp(np.linspace(0.0, 1.0, len(levels) + 1 - safe)))


def _shades(levels: Sequence[float], *, signed: bool) -> list[Any]:
    """A colour for each band, from white (or red, below zero) to light blue."""
    colours = require("matplotlib.colors", "report")
    count = len(levels) + 1
    if not signed:
        ramp: Colormap = colours.LinearSegmentedColormap.from_list("ramp", ["#ffffff", _BLUE])
        return list(ramp(np.linspace(0.0, 1.0, count)))
    negative = sum(level <= 0.0 for level in levels)
    down = colours.LinearSegmentedColormap.from_list("down", [_RED, "#ffffff"])
    up = colours.LinearSegmentedColormap.from_list("up", ["#ffffff", _BLUE])
    lower = down(np.linspace(0.0, 1.0, negative, endpoint=False))
    return [*lower, *up(np.linspace(0.0, 1.0, count - negative + 1)[1:])]


def _draw_classes(axes: Axes, grid: Grid) -> None:
    """Each class in its colour, named where it is widest."""
    for kind, (text, colour) in _CLASSES.items():
        region = grid.values == kind
        if region.any():
            inside = _smooth(region)
            axes.contourf(grid.x, grid.y, inside, levels=[0.5, 1.5], colors=[colour])
            axes.contour(grid.x, grid.y, inside, levels=[0.5], colors=INK, linewidths=0.8)
            _name(axes, grid, region, text)


def _hatch(axes: Axes, grid: Grid, missing: Region) -> None:
    """The region of sigma_b2 < 0, where no such network exists."""
    if not missing.any():
        return
    inside = _smooth(missing)
    drawn = axes.contourf(
        grid.x, grid.y, inside, levels=[0.5, 1.5], colors=["white"], hatches=["////"]
    )
    drawn.set_edgecolor(QUIET)
    drawn.set_linewidth(0.0)
    axes.contour(grid.x, grid.y, inside, levels=[0.5], colors=INK, linewidths=0.8)
    _name(axes, grid, missing, r"$\sigma_b^2 < 0$")


def _smooth(region: Region) -> Array:
    """1 inside and 0 outside, without the stairs of the grid."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(region.astype(float), 1.0, mode="nearest"))


def _name(axes: Axes, grid: Grid, region: Region, text: str) -> None:
    """The name of a region at its middle, if there is room."""
    if region.mean() < 0.05:
        return
    row, column = _middle(region)
    box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    at = (float(grid.x[column]), float(grid.y[row]))
    axes.text(*at, text, ha="center", va="center", fontsize=8, color=INK, bbox=box)


def _middle(region: Region) -> tuple[int, int]:
    """Row and column of the point of the region that is farthest from its outside."""
    from scipy.ndimage import distance_transform_edt

    scale = (1.0 / region.shape[0], 0.6 / region.shape[1])  # a name is wider than it is high
    depth = distance_transform_edt(np.pad(region, 1), sampling=scale)[1:-1, 1:-1]
    deepest = np.argwhere(depth >= depth.max() * (1.0 - 1e-9))
    row, column = deepest[len(deepest) // 2]
    return int(row), int(column)
