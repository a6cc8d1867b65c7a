"""Test accuracy over depth, and over what theory predicts: a colour a skip, a mark a setting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sparsefield.errors import require
from sparsefield.experiments.plotting import QUIET, Look, grid_of, label_ends, looks
from sparsefield.experiments.studies.drawing import draw_arms, name_values
from sparsefield.experiments.studies.matching import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = ("o", "s", "D", "^", "v", "P", "X")
_BESIDE = 1.03  # from the bars of one skip to those of the next, on a logarithmic axis


def draw(settings: Sequence[Sequence[Point]], names: Sequence[str]) -> Figure:
    """Three panels; the first shows the first setting alone."""
    figure, (depths, apart, noise) = grid_of(3, columns=3, width=12.0, height=3.9)
    skips = sorted({point.skip for group in settings for point in group})
    look_of = dict(zip(skips, looks(len(skips)), strict=True))
    ends = _over_depth(depths, settings[0] if settings else (), look_of)
    depths.set_title(names[0] if names[1:] else "")
    _over(apart, settings, look_of, lambda point: point.prediction.apart)
    apart.set_xlabel("predicted 1 − ρ of two inputs in the last layer")
    _over(noise, settings, look_of, lambda point: point.prediction.noise)
    noise.set_xlabel("predicted sd of the log of squared gradients")
    if names[1:]:
        _name_marks(noise, names)
    _same_heights((depths, apart, noise))
    figure.draw_without_rendering()  # fixes the height of the axes, which the labels share
    label_ends(depths, ends)
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


def _over(
    axes: Axes,
    settings: Sequence[Sequence[Point]],
    look_of: dict[float, Look],
    quantity: Callable[[Point], float],
) -> None:
    for number, points in enumerate(settings):
        for point in points:
            if 0.0 < quantity(point) < math.inf:
                _mark(axes, quantity(point), point, look_of[point.skip], number)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _mark(axes: Axes, x: float, point: Point, look: Look, setting: int) -> None:
    found = point.arm.mean().scaled(100)
    if not found.n:
        return
    if found.known:
        axes.plot([x, x], [found.low, found.high], color=look.colour, linewidth=1.0, alpha=0.6)
    axes.plot([x], [found.estimate], color=look.colour, **_mark_style(setting))


def _mark_style(setting: int) -> dict[str, Any]:
    filled = {} if not setting else {"mfc": "white", "mew": 1.3}
    mark = _MARKS[setting % len(_MARKS)]
    return {"marker": mark, "ms": 5.5, "linestyle": "none", "zorder": 3, **filled}


def _name_marks(axes: Axes, names: Sequence[str]) -> None:
    line = require("matplotlib.lines", "report").Line2D
    handles = [line([], [], color=QUIET, **_mark_style(n)) for n in range(len(names))]
    axes.legend(
        handles, names, loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.2, borderpad=0
    )


def _same_heights(panels: Sequence[Axes]) -> None:
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)
