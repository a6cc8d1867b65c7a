"""A folder of runs in one picture: who trains, with how many zeros, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefield.errors import require
from sparsefield.pictures.arms import Arm, percent, read_arms, title
from sparsefield.pictures.plotting import INK, QUIET, Look, house_style, looks, new_figure, wrapped
from sparsefield.pictures.saving import picture_path, save_figure
from sparsefield.pictures.training import THEORY, draw_variance
from sparsefield.sweep.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEAN: dict[str, Any] = {"ecolor": INK, "elinewidth": 1.2, "capsize": 4, "capthick": 1.2}


def picture(directory: str | Path, out: str | Path, /) -> Path:
    """Draw accuracy and zeros of every arm, and the variance through its layers.

    From a shell: ``python -m sparsefield.pictures demo docs/figures/demo.png``.

    Parameters
    ----------
    directory
        A folder of runs, as :func:`sparsefield.studies.demo` leaves it.
    out
        The picture's file; its ending (svg, png or pdf) chooses the format.

    Raises
    ------
    InvalidInput
        No finished runs there, or another ending.
    """
    path = picture_path(Path(out))
    return save_figure(overview(read_arms(directory)), path)


@house_style
def overview(arms: Sequence[Arm]) -> Figure:
    """Accuracy, zeros from start to end, and q by layer before the first step beside theory."""
    figure = new_figure(11.0, max(3.6, 2.0 + 0.44 * len(arms)))
    accuracy, zeros, variance = figure.subplots(1, 3, width_ratios=(1.0, 0.8, 0.9))
    for row, (arm, look) in enumerate(zip(arms, looks(len(arms)), strict=True)):
        _draw_accuracy(accuracy, row, arm, look)
        _draw_zeros(zeros, row, arm, look)
    _finish(accuracy, len(arms), "test accuracy (%)")
    accuracy.set_xlim(0, 100)
    accuracy.set_yticks(range(len(arms)), [wrapped(arm.label) for arm in arms], color=INK)
    _finish(zeros, len(arms), "exact zeros in hidden layers (%)")
    draw_variance(variance, arms)
    variance.set_ylabel("variance $q_l$ before training")
    figure.suptitle(title(arms), x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.legend(handles=_key(), loc="outside lower left", ncols=6)
    return figure


def _draw_accuracy(axes: Axes, row: int, arm: Arm, look: Look) -> None:
    """A bar to the mean with its interval, a dot for each seed, a cross for one that failed."""
    axes.barh(row, 100 * arm.accuracy.estimate, height=0.55, color=look.colour, alpha=0.28)
    for run in arm.runs:
        marker = "x" if run.result.failed else "o"
        axes.plot(100 * run.result.test_accuracy, row - 0.12, marker, ms=4.5, color=look.colour)
    _draw_interval(axes, row + 0.12, arm.accuracy)
    failed = f"\n{arm.failed} of {len(arm.runs)} failed" if arm.failed else ""
    _beside(axes, row, f"{percent(arm.accuracy)}{failed}")


def _draw_zeros(axes: Axes, row: int, arm: Arm, look: Look) -> None:
    """A ring before training, a dot after it, the interval of the dot."""
    start, end = arm.zeros_start, arm.zeros_end
    axes.plot([100 * start.estimate, 100 * end.estimate], [row, row], color=look.colour, lw=1.5)
    axes.plot(100 * start.estimate, row, "o", ms=7, mfc="white", mec=look.colour, mew=1.5)
    axes.plot(100 * end.estimate, row, "o", ms=7, color=look.colour)
    _draw_interval(axes, row, end)
    axes.plot([100 * arm.config.sparsity] * 2, [row - 0.5, row + 0.5], **THEORY)
    _beside(axes, row, f"{100 * start.estimate:.1f} → {100 * end.estimate:.1f}")


def _draw_interval(axes: Axes, row: float, found: Interval) -> None:
    if found.known:
        reach = [[found.estimate - found.low], [found.high - found.estimate]]
        axes.errorbar(100 * found.estimate, row, xerr=100 * np.array(reach), fmt="none", **_MEAN)


def _beside(axes: Axes, row: int, text: str) -> None:
    at: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes.annotate(text, (1.0, row), xytext=(8, 0), va="center", fontsize=8, color=INK, **at)


def _finish(axes: Axes, rows: int, label: str) -> None:
    axes.set_yticks([])
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(label)
    axes.tick_params(axis="y", length=0)


def _key() -> list[Any]:
    line = require("matplotlib.lines", "report").Line2D
    mark = {"color": QUIET, "linestyle": "none", "ms": 6}
    return [
        line([], [], **mark, marker="o", label="a seed; zeros after training"),
        line([], [], **mark, marker="x", label="a seed that failed"),
        line([], [], **mark, marker="o", mfc="white", label="zeros before training"),
        line([], [], color=INK, marker="|", ms=8, label="mean, 95 % interval"),
        line([], [], **THEORY, label="aimed at; theory"),
    ]
