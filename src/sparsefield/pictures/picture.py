"""The demo in one picture: who trains, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sparsefield.errors import InvalidInput
from sparsefield.pictures.arms import Arm, read_arms
from sparsefield.pictures.figures import draw_profile, label_profiles
from sparsefield.pictures.plotting import INK, QUIET, Look, looks, new_figure, styled, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS = (".png", ".svg", ".pdf")


def picture(directory: Path, out: Path, /) -> Path:
    """Draw the test accuracy of every seed of every arm, and the variance through the layers.

    From a shell: ``python -m sparsefield.pictures demo docs/figures/demo.png``.

    Parameters
    ----------
    directory
        A folder of runs, as :func:`sparsefield.studies.demo` leaves it.
    out
        The picture's file; its ending (png, svg or pdf) chooses the format.

    Raises
    ------
    InvalidInput
        No finished runs there, or another ending.
    """
    path = Path(out)
    if path.suffix not in _KINDS:
        raise InvalidInput(f"{path}: a picture ends in {', '.join(_KINDS)}; choose one of them")
    figure = overview(read_arms(directory))
    path.parent.mkdir(parents=True, exist_ok=True)
    styled(lambda: figure.savefig(path, dpi=160))
    return path


def overview(arms: Sequence[Arm]) -> Figure:
    """Accuracy at the left; at the right q by layer before the first step, beside theory."""
    return styled(lambda: _overview(arms))


def _overview(arms: Sequence[Arm]) -> Figure:
    figure = new_figure(10.0, max(3.4, 1.6 + 0.44 * len(arms)))
    accuracy, variance = figure.subplots(1, 2, width_ratios=(1.0, 0.9))
    styles = looks(len(arms))
    for row, (arm, look) in enumerate(zip(arms, styles, strict=True)):
        _dots(accuracy, row, arm, look)
    _finish_accuracy(accuracy, arms)
    ends = [draw_profile(variance, arm, look, "q") for arm, look in zip(arms, styles, strict=True)]
    variance.set_title("Why: variance $q_l$ of each layer before training\n(dashed: theory)")
    variance.set_ylabel("variance $q_l$")
    figure.suptitle(_title(arms), x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.draw_without_rendering()
    label_profiles(variance, arms, styles, ends)
    return figure


def _dots(axes: Axes, row: int, arm: Arm, look: Look) -> None:
    """One arm: a bar to the mean, a dot for each seed, a cross for one that failed."""
    axes.barh(row, 100 * arm.accuracy.mean, height=0.55, color=look.colour, alpha=0.28)
    for run in arm.runs:
        marker = "x" if run.result.failed else "o"
        axes.plot(100 * run.result.test_accuracy, row, marker, ms=5, color=look.colour)
    text = arm.accuracy.percent()
    if arm.failed:
        text += f", {arm.failed} of {arm.n} fail"
    axes.annotate(
        text,
        (1.0, row),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=INK,
    )


def _finish_accuracy(axes: Axes, arms: Sequence[Arm]) -> None:
    axes.set_yticks(np.arange(len(arms)), [wrapped(arm.label) for arm in arms], color=INK)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_xlim(0, 101)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("test accuracy (%)")
    axes.set_title("Test accuracy: mean, and every seed\n(×: failed)", color=INK)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_color(QUIET)


def _title(arms: Sequence[Arm]) -> str:
    """What all arms have in common."""
    config = arms[0].config
    steps = max(run.result.steps for arm in arms for run in arm.runs)
    return (
        f"{Path(config.data).name}: {config.depth} hidden layers of {config.width}, "
        f"{100 * config.sparsity:g} % zeros aimed at, {steps} steps"
    )
