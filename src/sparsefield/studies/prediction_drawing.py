"""Test accuracy over depth, over width, and on the plane of what theory predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sparsefield.errors import require
from sparsefield.pictures.plotting import QUIET, Look, grid_of, label_ends, looks
from sparsefield.studies.drawing import draw_arms, name_values
from sparsefield.studies.matching import Point, by_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = ("o", "s", "D", "^", "v", "P", "X")
_LIGHTEST = 0.12  # of the colours: what is left out can hardly be seen on white
_BESIDE = 1.03  # from the bars of one skip to those of the next, on a logarithmic axis


def draw(settings: Sequence[Sequence[Point]], names: Sequence[str]) -> Figure:
    """The first setting over depth; where several widths were run, over width; the plane."""
    cells = by_width(settings)
    figure, panels = grid_of(3 if cells else 2, columns=3, width=13.0, height=3.9)
    depths, plane = panels[0], panels[-1]
    skips = sorted({point.skip for group in settings for point in group})
    look_of = dict(zip(skips, looks(len(skips)), strict=True))
    ends = [(depths, _over_depth(depths, settings[0] if settings else (), look_of))]
    depths.set_title(names[0] if names[1:] else "")
    if cells:
        ends.append((panels[1], _over_width(panels[1], cells, look_of)))
        _same_heights(panels[:2])
    colours = _over_plane(plane, settings)
    bar = figure.colorbar(colours, ax=plane, pad=0.02, aspect=30, label="test accuracy, %")
    bar.outline.set_visible(False)
    if names[1:]:
        _name_marks(plane, names)
    figure.draw_without_rendering()  # fixes the height of the axes, which the labels share
    for axes, named in ends:
        label_ends(axes, named)
    return figure


def _over_depth(
    axes: Axes, points: Sequence[Point], look_of: dict[float, Look]
) -> list[tuple[float, str, Look]]:
    ends = []
    skips = sorted({point.skip for point in points})
    for index, skip in enumerate(skips):
        those = [point for point in points if point.skip == skip]
        aside = _BESIDE ** (index - (len(skips) - 1) / 2)
        xs = [point.depth * aside for point in those]
        drawn = draw_arms(axes, xs, [point.arm for point in those], look_of[skip])
        if drawn:
            ends.append((drawn[-1][1], f"skip {skip:g}" if skip else "no skip", look_of[skip]))
    name_values(axes, sorted({point.depth for point in points}))
    axes.set_xlabel("depth")
    axes.set_ylabel("test accuracy, %")
    return ends


def _over_width(
    axes: Axes, cells: Sequence[Sequence[Point]], look_of: dict[float, Look]
) -> list[tuple[float, str, Look]]:
    """Networks of which theory predicts the same contraction: a line a depth and skip."""
    ends = []
    for index, points in enumerate(cells):
        look = look_of[points[0].skip]
        aside = _BESIDE ** (index - (len(cells) - 1) / 2)
        xs = [point.arm["width"] * aside for point in points]
        drawn = draw_arms(axes, xs, [point.arm for point in points], look)
        skip = f"skip {points[0].skip:g}" if points[0].skip else "no skip"
        ends.append((drawn[-1][1], f"{skip}, depth {points[0].depth}", look))
    name_values(axes, sorted({point.arm["width"] for points in cells for point in points}))
    axes.set_xlabel("width")
    axes.set_title("equal predicted 1 − ρ along a line")
    return ends


def _over_plane(axes: Axes, settings: Sequence[Sequence[Point]]) -> Any:
    """Both predictions, and as colour the accuracy: where networks train."""
    colours = _colours(axes)
    for number, points in enumerate(settings):
        for point in points:
            _mark(axes, point, colours, number)
    for axis, log in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        log("log")
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda value, _: "")
    axes.set_xlabel("predicted 1 − ρ of two inputs in the last layer")
    axes.set_ylabel("predicted noise of the gradient")
    return colours


def _colours(axes: Axes) -> Any:
    """From what fails, light, to what trains, dark: told apart in grey too."""
    colours = require("matplotlib.colors", "report")
    ramp = require("matplotlib", "report").colormaps["plasma_r"]
    cut = colours.ListedColormap(ramp([_LIGHTEST + (1 - _LIGHTEST) * i / 255 for i in range(256)]))
    mappable = require("matplotlib.cm", "report").ScalarMappable
    return mappable(colours.Normalize(0.0, 100.0), cut)


def _mark(axes: Axes, point: Point, colours: Any, setting: int) -> None:
    found = point.arm.mean()
    x, y = point.prediction.apart, point.prediction.noise
    if not (found.n and 0.0 < x < math.inf and 0.0 < y < math.inf):
        return
    colour = colours.to_rgba(100 * found.estimate)
    filled = {} if point.skip else {"mfc": "white", "mew": 2.0, "zorder": 4}
    axes.plot([x], [y], color=colour, **{**_mark_style(setting), **filled})


def _mark_style(setting: int) -> dict[str, Any]:
    mark = _MARKS[setting % len(_MARKS)]
    return {"marker": mark, "ms": 7, "linestyle": "none", "zorder": 3}


def _name_marks(axes: Axes, names: Sequence[str]) -> None:
    line = require("matplotlib.lines", "report").Line2D
    handles = [line([], [], color=QUIET, **_mark_style(n)) for n in range(len(names))]
    axes.legend(handles, names, loc="lower left", handletextpad=0.2, borderpad=0.2, fontsize=8)


def _same_heights(panels: Sequence[Axes]) -> None:
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)
