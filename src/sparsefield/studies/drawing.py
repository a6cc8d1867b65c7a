"""Arms in a figure: means, interval bars, and every seed as a faint dot beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sparsefield.errors import require
from sparsefield.pictures.plotting import INK, Look
from sparsefield.studies.arms import Arm
from sparsefield.studies.reading import SHOWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ASIDE = 4  # points from a bar to the dots of its seeds
_SEED: dict[str, Any] = {"marker": "o", "linestyle": "none", "ms": 3, "mew": 0, "alpha": 0.45}
_MEAN: dict[str, Any] = {"marker": "o", "ms": 5, "mec": "white", "mew": 0.6, "zorder": 3}
_WIDTH = 1.4


def draw_arms(
    axes: Axes,
    xs: Sequence[float],
    arms: Sequence[Arm],
    look: Look,
    measure: str = "test_accuracy",
    *,
    join: bool = True,
) -> list[tuple[float, float]]:
    """Draw a measure of arms upwards at ``xs``; the means that were drawn, as (x, y).

    Arms without a value are left out. Bars are the intervals of the means; ``join`` draws a line
    from mean to mean.
    """
    drawn = []
    for x, arm in zip(xs, arms, strict=True):
        mean = _draw_arm(axes, x, arm, look, measure, upwards=True)
        drawn += [] if mean is None else [(x, mean)]
    if join and drawn:
        across, upwards = zip(*drawn, strict=True)
        axes.plot(across, upwards, look.dash, color=look.colour, linewidth=_WIDTH, zorder=2)
    return drawn


def draw_rows(
    axes: Axes,
    labels: Sequence[str],
    arms: Sequence[Arm],
    look: Look,
    measure: str = "test_accuracy",
) -> None:
    """Draw a measure of arms across, one arm a line, the first on top."""
    for y, arm in enumerate(arms):
        _draw_arm(axes, y, arm, look, measure, upwards=False)
    axes.set_yticks(range(len(labels)), list(labels), color=INK)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(SHOWN[measure][0])


def name_values(axes: Axes, values: Sequence[float], *, log: bool = True) -> None:
    """Mark just the values that were run on the x axis."""
    if log:
        axes.set_xscale("log")
    axes.set_xticks(list(values), [f"{value:g}" for value in values])
    axes.xaxis.minorticks_off()


def _draw_arm(
    axes: Axes, place: float, arm: Arm, look: Look, measure: str, *, upwards: bool
) -> float | None:
    """Draw one arm at its place on the other axis; the mean, in the units of the axis."""
    scale = SHOWN[measure][1]
    values = [scale * value for value in arm.by_seed(measure).values()]
    if not values:
        return None

    def plot(along: Sequence[float], **style: Any) -> None:
        across = [place] * len(along)
        axes.plot(*((across, along) if upwards else (along, across)), color=look.colour, **style)

    found = arm.mean(measure).scaled(scale)
    plot(values, transform=_beside(axes, upwards=upwards), **_SEED)
    if found.known:
        plot([found.low, found.high], linewidth=_WIDTH)
    plot([found.estimate], **_MEAN)
    return found.estimate


def _beside(axes: Axes, *, upwards: bool) -> Any:
    offset_copy = require("matplotlib.transforms", "report").offset_copy
    figure = axes.get_figure(root=True)
    aside = {"x": _ASIDE} if upwards else {"y": -_ASIDE}
    return offset_copy(axes.transData, figure, units="points", **aside)
