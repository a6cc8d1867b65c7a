"""A phase diagram as a picture: one panel a quantity, contours with their values on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefield.errors import require
from sparsefield.pictures.plotting import INK, QUIET, house_style, new_figure, plain_log
from sparsefield.theory.phase import Grid, PhaseDiagram, Stability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Region = NDArray[np.bool_]
_RAMP = ["#e3a27a", "#ffffff", "#7fb2d6"]  # light enough for black type
_SYMBOLS = {"sparsity": "$s$", "clip": r"$m/\sqrt{q^*}$", "m": "$m$", "q": "$q^*$"}
_AXES = {"sparsity": "sparsity", "clip": "clip", "m": "clip height", "q": "variance"}
_CLASSES = {
    Stability.REPELS: ("repels: $|V'| > 1$", "#dd8f62"),
    Stability.MARGINAL: ("marginal: $V' = 1$", "#f3d9a4"),
    Stability.SEVERAL: ("attracts, has rivals", "#f3d3bd"),
    Stability.UNIQUE: ("attracts, the only one", "#d3e6f3"),
}
_SIGNED = (-5, -1, -0.2, 0, 0.2, 1, 5, 20)
_PANELS: dict[str, tuple[str, tuple[float, ...]]] = {  # titles and contours
    "stability": ("Fixed point $q^*$", ()),
    "fixed_points": ("Number of fixed points", (1.5, 2.5)),
    "slope": ("Slope $V'(q^*)$", (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)),
    "curvature": ("Curvature $V''(q^*)$", _SIGNED),
    "chi1_slope": ("$d\\chi_1/dq$ at $q^*$", _SIGNED),
    "sigma_w2": (r"Weights, $\sigma_w^2$", (2, 3, 5, 10, 20, 50, 100, 200, 500)),
    "sigma_b2": (r"Biases, $\sigma_b^2$", (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 2, 5)),
    "tau": (r"Threshold $\tau$", (-0.5, 0, 0.5, 1, 1.5, 2, 3, 5)),
    "saturation": ("Share at the clip", (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3)),
    "depth_scale": ("Depth scale of $q$ (layers)", (0.5, 1, 2, 3, 5, 10, 20, 50, 100, 1000)),
    "roughness": (r"Roughness $\kappa$ of $R(\rho)$", (0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10)),
    "correlation_depth": (r"Layers until $1-\rho = 0.01$", (3, 5, 7, 10, 15, 20, 30, 40, 50, 60)),
    "escape": ("Escape probability", (1e-6, 0.01, 0.1, 0.5, 0.9, 0.99)),
}
_HATCH: dict[str, Any] = {"facecolor": "white", "hatch": "////"}


@house_style
def phase_figure(diagram: PhaseDiagram) -> Figure:
    """One panel for each quantity of the diagram, and a key to colours and hatching."""
    count = len(diagram.grids)
    columns = min(count, 2)
    rows = -(-count // columns)
    figure = new_figure(5.5 if columns == 2 else 3.5, 2.75 * rows + 0.75)
    for index, name in enumerate(diagram.grids):
        axes = figure.add_subplot(rows, columns, index + 1)
        _draw_quantity(axes, diagram, name)
        axes.set_xlabel(_named(diagram.x.name))
        axes.set_ylabel(_named(diagram.y.name) if index % columns == 0 else "")
    fixed = [f"{_SYMBOLS.get(name, name)} = {value:g}" for name, value in diagram.fixed.items()]
    fixed += [rf"$\chi_1$ = {diagram.chi1:g}"] if diagram.chi1 != 1.0 else []
    heading = ", ".join([diagram.family.upper().replace("RELU", "ReLU"), *fixed])
    figure.suptitle(heading, x=0.01, ha="left", fontsize=9, color=QUIET)
    figure.legend(handles=_key(diagram), loc="outside lower center", ncols=columns)
    return figure


def _named(axis: str) -> str:
    return f"{_AXES[axis]} {_SYMBOLS[axis]}"


def _key(diagram: PhaseDiagram) -> list[Any]:
    """A patch for each class that occurs, and for no network."""
    patch = require("matplotlib.patches", "report").Patch
    found: list[Any] = []
    if "stability" in diagram.grids:
        seen = set(np.unique(diagram.grids["stability"].values))
        kinds = [_CLASSES[kind] for kind in _CLASSES if kind in seen]
        found = [patch(fc=colour, ec=QUIET, label=text) for text, colour in kinds]
    if any(_missing(diagram, name).any() for name in diagram.grids):
        found.append(patch(**_HATCH, ec=QUIET, label=r"no such network: $\sigma_b^2 < 0$"))
    return found


def _missing(diagram: PhaseDiagram, name: str) -> Region:
    """Where sigma_b2 < 0, and no such network exists."""
    values = diagram.grids[name].values
    missing: Region = values == Stability.NO_SOLUTION if name == "stability" else np.isnan(values)
    return missing


def _draw_quantity(axes: Axes, diagram: PhaseDiagram, name: str) -> None:
    grid = diagram.grids[name]
    title, levels = _PANELS[name]
    axes.set(title=title, xlim=(grid.x[0], grid.x[-1]), ylim=(grid.y[0], grid.y[-1]))
    axes.grid(visible=False)
    for scale, axis in ((diagram.x, axes.xaxis), (diagram.y, axes.yaxis)):
        if scale.name == "q":  # variances by ratio
            axes.set(**{f"{axis.axis_name}scale": "log"})
            plain_log(axis)
    if name == "stability":
        for kind, (_, colour) in _CLASSES.items():
            _draw_region(axes, grid, grid.values == kind, colors=[colour])
    else:
        _draw_contours(axes, grid, levels, chance=name == "escape")
    _draw_region(axes, grid, _missing(diagram, name), colors=["white"], hatches=["////"])


def _draw_contours(axes: Axes, grid: Grid, every: Sequence[float], *, chance: bool) -> None:
    finite = grid.values[np.isfinite(grid.values)]
    low, high = (finite.min(), finite.max()) if finite.size else (np.inf, np.inf)
    levels = [level for level in every if low < level < high]
    if not levels:  # flat: say its value
        values = dict.fromkeys((f"{low:.3g}", f"{high:.3g}")) if finite.size else ["nowhere finite"]
        place: dict[str, Any] = {"ha": "center", "transform": axes.transAxes, "zorder": 5}
        axes.text(0.5, 0.5, " to ".join(values), fontsize=8, backgroundcolor="white", **place)
        return
    at = _log_odds if chance else np.ma.masked_invalid
    drawn = [float(at(level)) for level in levels]  # chances change by factors, and so do odds
    bands: dict[str, Any] = {"levels": [-np.inf, *drawn, np.inf], "colors": _shades(levels)}
    axes.contourf(grid.x, grid.y, at(_continued(grid.values)), **bands)
    solid: dict[str, Any] = {"colors": INK, "linewidths": 0.8, "linestyles": "solid"}
    lines = axes.contour(grid.x, grid.y, at(grid.values), levels=drawn, **solid)
    names = [_percent(x) if chance else f"{x:g}".replace("-", "\N{MINUS SIGN}") for x in levels]
    axes.clabel(lines, fmt=dict(zip(drawn, names, strict=True)), fontsize=8, inline_spacing=2)


def _percent(p: float) -> str:
    return f"{100 * p:g} %" if p > 1e-3 else f"$10^{{{round(np.log10(p))}}}$"


def _continued(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where there is none, the nearest value: what is hatched over has no ragged edge."""
    from scipy.ndimage import distance_transform_edt

    missing = ~np.isfinite(values)
    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])


def _log_odds(p: Any) -> Any:
    inside = np.ma.masked_invalid(np.clip(p, 1e-15, 1.0 - 1e-15))
    return np.log(inside) - np.log1p(-inside)


def _shades(levels: Sequence[float]) -> list[Any]:
    """A colour for each band: red below zero, then white to light blue."""
    ramp = require("matplotlib.colors", "report").LinearSegmentedColormap.from_list("", _RAMP)
    below = sum(level <= 0.0 for level in levels)
    above = len(levels) + 1 - below
    blue = np.linspace(0.5, 1.0, above + bool(below))[bool(below) :]
    return list(ramp([*np.linspace(0.0, 0.5, below, endpoint=False), *blue]))


def _draw_region(axes: Axes, grid: Grid, region: Region, **look: Any) -> None:
    """A region in a colour or hatched, with its border, without the stairs of the grid."""
    from scipy.ndimage import gaussian_filter

    if not region.any():
        return
    inside = gaussian_filter(region.astype(float), 1.0, mode="nearest")
    drawn = axes.contourf(grid.x, grid.y, inside, levels=[0.5, 1.5], **look)
    drawn.set_edgecolor(QUIET)  # of the hatching
    drawn.set_linewidth(0.0)
    axes.contour(grid.x, grid.y, inside, levels=[0.5], colors=INK, linewidths=0.8)
