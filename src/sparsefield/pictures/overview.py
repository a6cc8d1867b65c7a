"""A folder of runs in one picture: who trains, with how many zeros, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsefield.errors import require
from sparsefield.pictures.plotting import INK, QUIET, Look, house_style, looks, new_figure, wrapped
from sparsefield.pictures.runs import Arms, title
from sparsefield.pictures.training import THEORY, draw_variance
from sparsefield.studies import Arm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEAN: dict[str, Any] = {"ecolor": INK, "elinewidth": 1.2, "capsize": 4, "capthick": 1.2}


@house_style
def overview(arms: Arms) -> Figure:
    """Accuracy, zeros from start to end, and q by layer before the first step beside theory."""
    figure = new_figure(11.0, max(3.6, 2.0 + 0.44 * len(arms)))
    accuracy, zeros, variance = figure.subplots(1, 3, width_ratios=(1.0, 0.8, 0.9))
    for row, (arm, look) in enumerate(zip(arms.values(), looks(len(arms)), strict=True)):
        _draw_accuracy(accuracy, row, arm, look)
        _draw_zeros(zeros, row, arm, look)
    _finish(accuracy, len(arms), "test accuracy (%)")
    accuracy.set_xlim(0, 100)
    accuracy.set_yticks(range(len(arms)), [wrapped(name) for name in arms])
    for name, look in zip(accuracy.get_yticklabels(), looks(len(arms)), strict=True):
        name.set_color(look.text)  # which names the lines on the right as well
    _finish(zeros, len(arms), "exact zeros in hidden layers (%)")
    draw_variance(variance, arms)
    variance.set_ylabel("variance $q_l$ before training")
    figure.suptitle(title(arms), x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.legend(handles=_key(), loc="outside lower left", ncols=6)
    return figure


def _draw_accuracy(axes: Axes, row: int, arm: Arm, look: Look) -> None:
    """A bar to the mean with its interval, a dot for each seed, a cross for one that failed."""
    axes.barh(row, 100 * arm.mean().estimate, height=0.55, color=look.colour, alpha=0.28)
    for run in arm.runs:
        marker = "x" if run.result.failed else "o"
        axes.plot(100 * run.result.test_accuracy, row - 0.12, marker, ms=4.5, color=look.colour)
    _draw_interval(axes, row + 0.12, arm, "test_accuracy")
    failed = f"\n{arm.failed} of {len(arm.rows)} failed" if arm.failed else ""
    _beside(axes, row, f"{arm.text()}{failed}")


def _draw_zeros(axes: Axes, row: int, arm: Arm, look: Look) -> None:
    """A ring before training, a dot after it, the interval of the dot."""
    start, end = (100 * arm.mean(name).estimate for name in ("zeros_init", "zeros_end"))
    axes.plot([start, end], [row, row], color=look.colour, lw=1.5)
    axes.plot(start, row, "o", ms=7, mfc="white", mec=look.colour, mew=1.5)
    axes.plot(end, row, "o", ms=7, color=look.colour)
    _draw_interval(axes, row, arm, "zeros_end")
    axes.plot([100 * arm["sparsity"]] * 2, [row - 0.5, row + 0.5], **THEORY)
    _beside(axes, row, f"{start:.1f} → {end:.1f}")


def _draw_interval(axes: Axes, row: float, arm: Arm, name: str) -> None:
    found = arm.mean(name).scaled(100)
    if found.known:
        reach = [[found.estimate - found.low], [found.high - found.estimate]]
        axes.errorbar(found.estimate, row, xerr=reach, fmt="none", **_MEAN)


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
