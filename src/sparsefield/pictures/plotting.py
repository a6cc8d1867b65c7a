"""The look of every figure: palette, type, and labels at the ends of lines."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from sparsefield.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

P = ParamSpec("P")
T = TypeVar("T")

INK, QUIET, GRID = "#1a1a1a", "#6b6b6b", "#e4e4e4"
# Okabe and Ito's palette, told apart in every common colour blindness; yellow is too pale on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",  # the same on every machine, whatever fonts it has
    "svg.hashsalt": "sparsefield",  # the same bytes from the same data
}


@dataclass(frozen=True)
class Look:
    """How one arm is drawn in every figure."""

    colour: str
    dash: str

    @property
    def text(self) -> str:
        """The colour, dark enough to be read."""
        channels = [int(self.colour[i : i + 2], 16) for i in (1, 3, 5)]
        return "#" + "".join(f"{int(0.72 * channel):02x}" for channel in channels)


def looks(count: int) -> list[Look]:
    """``count`` looks, no two alike for up to 28."""
    size = len(_COLOURS)
    return [Look(_COLOURS[i % size], _DASHES[i // size % len(_DASHES)]) for i in range(count)]


def house_style(draw: Callable[P, T]) -> Callable[P, T]:
    """The same function with the house style on while it runs."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        with require("matplotlib", "report").rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches that belongs to no window and no global state."""
    figure: Figure = require("matplotlib.figure", "report").Figure(
        figsize=(width, height), layout="constrained"
    )
    return figure


def wrapped(label: str, width: int = 24) -> str:
    """The label in lines short enough to stand beside a panel."""
    return "\n".join(textwrap.wrap(label, width))


def apart(positions: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Centres moved as little (least squares) as lets blocks of these heights not overlap.

    The order is kept. It is a monotone regression on the positions less the heights below them.

    >>> apart([0.0, 0.1, 5.0], [1.0, 1.0, 1.0])
    [-0.45, 0.55, 5.0]
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(positions, kind="stable")
    tall = np.array(heights)[order]
    below = np.concatenate([[0.0], np.cumsum((tall[1:] + tall[:-1]) / 2)])[: len(order)]
    moved = np.empty(len(order))
    moved[order] = isotonic_regression(np.array(positions)[order] - below).x + below
    return [round(float(y), 12) for y in moved]


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, Look]]) -> None:
    """Write each label right of the axes at its height (in data), apart enough to be read.

    The limits of the axes must be final.
    """
    figure: Any = axes.get_figure(root=True)
    figure.draw_without_rendering()  # fixes the height of the axes, which the labels share
    points = axes.get_window_extent().height * 72 / figure.dpi
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [float(to_axes.transform((axes.get_xlim()[1], y))[1]) for y, _, _ in ends]
    heights = [(11 * (label.count("\n") + 1) + 3) / points for _, label, _ in ends]
    for (_, label, look), y in zip(ends, apart(wanted, heights), strict=True):
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        style: dict[str, Any] = {"va": "center", "fontsize": 8, "annotation_clip": False}
        axes.annotate(label, (1.0, y), (6, 0), color=look.text, **place, **style)


def label_lines(axes: Axes, lines: Sequence[Line2D], names: Sequence[str]) -> None:
    """Write its name where each line ends; below the top, if it leaves there."""
    top = 0.98 * axes.get_ylim()[1]
    heights = [min(float(np.asarray(line.get_ydata())[-1]), top) for line in lines]
    drawn = [Look(str(line.get_color()), "-") for line in lines]
    label_ends(axes, list(zip(heights, names, drawn, strict=True)))


def plain_log(axis: Any) -> None:
    """Numbers as they are, on a logarithmic axis."""
    ticker = require("matplotlib.ticker", "report")
    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(ticker.NullFormatter())
