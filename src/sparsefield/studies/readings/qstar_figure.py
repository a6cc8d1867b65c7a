"""The figure of q* taken apart: over q*, part by part, and over the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsefield.pictures.plotting import Look, label_ends, looks, new_figure
from sparsefield.studies.arms import Arm
from sparsefield.studies.drawing import draw_arms, draw_rows, name_values
from sparsefield.studies.reading import SHOWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Ends = list[tuple[float, str, Look]]


def draw(
    ratio: Sequence[Arm],
    heights: Sequence[Sequence[Arm]],
    rows: Sequence[tuple[str, Arm]],
    untuned: Sequence[Arm],
) -> Figure:
    """Draw the three panels.

    Parameters
    ----------
    ratio, heights
        over q*, at a fixed clip ratio and at each fixed m.
    rows
        the smaller q*, its parts, the larger, by name.
    untuned
        every learning rate at a fixed clip ratio.
    """
    figure = new_figure(13.0, 3.8)
    panels = figure.subplots(1, 3, width_ratios=(1, 0.9, 1))
    over_q = _over_q(panels[0], ratio, heights)
    if rows:
        _rows(panels[1], rows)
    over_rates = _over_rates(panels[2], untuned)
    figure.draw_without_rendering()  # fixes the height of the axes, which the labels share
    label_ends(panels[0], over_q)
    label_ends(panels[2], over_rates)
    return figure


def _over_q(axes: Axes, ratio: Sequence[Arm], heights: Sequence[Sequence[Arm]]) -> Ends:
    ends: Ends = []
    lines = [found for found in (ratio, *heights) if found]
    for index, (found, look) in enumerate(zip(lines, looks(len(lines)), strict=True)):
        aside = 1.08 ** (index - (len(lines) - 1) / 2)  # bars side by side
        drawn = draw_arms(axes, [arm["q"] * aside for arm in found], found, look)
        ends += [(drawn[-1][1], _fixed(found, ratio), look)] if drawn else []
    name_values(axes, sorted({arm["q"] for found in lines for arm in found}))
    axes.set_xlabel("fixed variance q*")
    axes.set_ylabel(SHOWN["test_accuracy"][0])
    return ends


def _fixed(found: Sequence[Arm], ratio: Sequence[Arm]) -> str:
    """What is the same along a line."""
    return f"clip ratio {found[0]['clip']:g}" if found is ratio else f"m = {found[0]['m']:g}"


def _rows(axes: Axes, rows: Sequence[tuple[str, Arm]]) -> None:
    labels = [label.replace(" and ", "\nand ") for label, _ in rows]
    draw_rows(axes, labels, [arm for _, arm in rows], looks(3)[2])


def _over_rates(axes: Axes, untuned: Sequence[Arm]) -> Ends:
    ends: Ends = []
    qs = sorted({arm["q"] for arm in untuned})
    for index, (q, look) in enumerate(zip(qs, looks(len(qs)), strict=True)):
        those = sorted((arm for arm in untuned if arm["q"] == q), key=lambda arm: float(arm["lr"]))
        aside = 1.03 ** (index - (len(qs) - 1) / 2)
        drawn = draw_arms(axes, [arm["lr"] * aside for arm in those], those, look)
        ends += [(drawn[-1][1], f"q* = {q:g}", look)] if drawn else []
    name_values(axes, sorted({arm["lr"] for arm in untuned}))
    axes.set_xlabel("learning rate, at a fixed clip ratio")
    axes.set_ylabel(SHOWN["test_accuracy"][0])
    return ends
