"""The look of every figure: palette, type, keys."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sparsefield.errors import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def legend_below(figure: Figure, names: Sequence[str], columns: int = 3) -> None:
    """A key to the looks of these names under all panels."""
    line = require("matplotlib.lines", "report").Line2D
    styles = zip(names, looks(len(names)), strict=True)
    key = [line([], [], color=x.colour, ls=x.dash, lw=2.0, label=name) for name, x in styles]
    figure.legend(handles=key, loc="outside lower center", ncols=columns, labelcolor=INK)


def plain_log(axis: Any) -> None:
    """Numbers as they are, on a logarithmic axis."""
    ticker = require("matplotlib.ticker", "report")
    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(ticker.NullFormatter())
