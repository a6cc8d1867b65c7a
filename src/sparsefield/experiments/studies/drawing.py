"""Arms in a figure: means joined, interval bars, and every seed as a faint dot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsefield.experiments.plotting import INK, Look
from sparsefield.experiments.studies.arms import Arm
from sparsefield.experiments.studies.reading import SHOWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAINT = 0.35


def draw_arms(
    axes: Axes, xs: Sequence[float], arms: Sequence[Arm], look: Look, *, measure: str, join: bool
) -> list[tuple[float, float]]:
    """Draw a measure of arms at ``xs``; the means that were drawn, as (x, y).

    Arms without a value are left out. Bars are the intervals of the means.
    """
    scale, drawn = SHOWN[measure][1], []
    for x, arm in zip(xs, arms, strict=True):
        values = [scale * value for value in arm.by_seed(measure).values()]
        if not values:
            continue
        found = arm.mean(measure).scaled(scale)
        axes.plot(
            [x] * len(values), values, "o", color=look.colour, alpha=_FAINT, markersize=3, mew=0
        )
        if found.known:
            axes.plot([x, x], [found.low, found.high], color=look.colour, linewidth=1.4)
        drawn.append((x, found.estimate))
    if drawn:
        style = look.dash if join else "none"
        axes.plot(
            *zip(*drawn, strict=True),
            linestyle=style,
            marker="o",
            markersize=5,
            color=look.colour,
            linewidth=1.4,
            markeredgecolor="white",
            mew=0.6,
        )
    return drawn


def name_values(axes: Axes, values: Sequence[float], *, log: bool) -> None:
    """Mark just the values that were run on the x axis."""
    if log:
        axes.set_xscale("log")
    axes.set_xticks(list(values), [f"{value:g}" for value in values])
    axes.xaxis.minorticks_off()


def draw_rows(
    axes: Axes, labels: Sequence[str], arms: Sequence[Arm], look: Look, measure: str
) -> None:
    """Draw a measure of arms across, one arm a line, the first on top."""
    heading, scale, _ = SHOWN[measure]
    for y, arm in enumerate(arms):
        values = [scale * value for value in arm.by_seed(measure).values()]
        axes.plot(
            values, [y] * len(values), "o", color=look.colour, alpha=_FAINT, markersize=3, mew=0
        )
        if not values:
            continue
        found = arm.mean(measure).scaled(scale)
        if found.known:
            axes.plot([found.low, found.high], [y, y], color=look.colour, linewidth=1.4)
        axes.plot(found.estimate, y, "o", color=look.colour, markersize=5, mec="white", mew=0.6)
    axes.set_yticks(range(len(labels)), list(labels), color=INK)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(heading)
