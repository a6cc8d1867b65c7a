"""The bench as a picture: speed, crossover, and layers; drawn from its JSON alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefield.errors import require
from sparsefield.pictures.plotting import INK, QUIET, Look, looks, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[dict[str, Any]]
Array = NDArray[np.float64]
# dark blue wins, orange loses, white between: told apart in grey as well by the hatching
_WIN, _EVEN, _LOSE = "#3b7cb0", "#ffffff", "#e3a27a"
_HATCH = "#b3703f"
_RANGE = 16.0  # the colours end at 16 times faster or slower
_FIRST = "engine"  # the contender of the crossover map, where it was timed


def bench_figure(result: dict[str, Any]) -> Figure:
    """Left: speed-ups with quartiles; middle: density x batch; right: single layers.

    ``result`` is :meth:`sparsefield.bench.BenchResult.to_dict`, or its JSON read back; a
    part that was not timed has no panel.
    """
    return styled(lambda: _bench_figure(result))


def _bench_figure(result: dict[str, Any]) -> Figure:
    panels = [draw_speed]
    panels += [draw_crossover] if _compared(result["crossover"]) else []
    panels += [draw_layers] if any(row["status"] == "timed" for row in result["layers"]) else []
    widths = [_WIDTHS[draw] for draw in panels]
    figure = new_figure(sum(widths), 3.6)
    grid = figure.add_gridspec(1, len(panels), width_ratios=widths)
    for index, draw in enumerate(panels):
        draw(figure.add_subplot(grid[index]), result)
    figure.suptitle(_heading(result), x=0.01, ha="left", fontsize=9, color=QUIET)
    return figure


def _heading(result: dict[str, Any]) -> str:
    threads = f"{result['threads']} thread{'s' if result['threads'] > 1 else ''}"
    cpu = result["hardware"].get("cpu", "")
    zeros = f"{100 * result['sparsity']:.1f} % zeros"
    return ", ".join(part for part in (result["subject"], zeros, threads, cpu) if part)


def draw_speed(axes: Axes, result: dict[str, Any]) -> None:
    """One group of bars a contender, one bar a batch; whiskers are quartiles."""
    timed = [row for row in result["rows"] if row["status"] == "timed"]
    names = list(dict.fromkeys(row["contender"] for row in timed))
    batches = list(dict.fromkeys(row["batch"] for row in timed))
    height = 0.8 / len(batches)
    for index, (batch, look) in enumerate(zip(batches, looks(len(batches)), strict=True)):
        rows = [row for row in timed if row["batch"] == batch]
        at = [names.index(row["contender"]) + (index + 0.5) * height - 0.4 for row in rows]
        _bars(axes, at, rows, height, f"batch {batch}", look)
    axes.axvline(1.0, color=INK, linewidth=1.0)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.invert_yaxis()
    axes.set_ylim(len(names) - 0.5 + 0.35 * len(batches), -0.55)  # room for the legend
    axes.grid(visible=False, axis="y")
    axes.set_xscale("log")
    _plain(axes.xaxis)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.7), high * 1.6)  # room for the numbers
    axes.set_xlabel("times as fast as best dense")
    axes.set_title("Whole network")
    axes.legend(
        loc="lower right",
        handlelength=1.2,
        ncols=min(len(batches), 2),
        frameon=True,
        facecolor="white",
        edgecolor="none",
        framealpha=1.0,
    )


def _bars(axes: Axes, at: list[float], rows: Rows, height: float, label: str, look: Look) -> None:
    speed = np.array([row["speedup"] for row in rows])
    low, high = np.array([row["speedup_quartiles"] for row in rows]).T
    axes.barh(at, speed - 1.0, height, left=1.0, color=look.colour, label=label)
    whiskers = [np.clip(speed - low, 0.0, None), np.clip(high - speed, 0.0, None)]
    axes.errorbar(speed, at, xerr=whiskers, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2)
    for y, value, end in zip(at, speed.tolist(), high.tolist(), strict=True):
        axes.annotate(
            _short(value),
            (max(value, end, 1.0), y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=look.text,
        )


def draw_crossover(axes: Axes, result: dict[str, Any]) -> None:
    """Time over that of the fastest dense contender, over density x batch; hatched: it loses."""
    name = _compared(result["crossover"])
    cells = [cell for cell in result["crossover"] if cell["contender"] == name]
    x, y, ratio = _grid(cells)
    # one width for all: neither the densities nor the batches are evenly spaced
    columns, rows = np.arange(len(x) + 1.0), np.arange(len(y) + 1.0)
    axes.pcolormesh(columns, rows, np.log2(1.0 / ratio), cmap=_colours(), norm=_norm())
    _hatch(axes, columns, ratio)
    for row, column in np.argwhere(np.isfinite(ratio)):
        axes.text(
            (columns[column] + columns[column + 1]) / 2,
            row + 0.5,
            _short(1.0 / float(ratio[row, column])),
            ha="center",
            va="center",
            fontsize=6,
            color=INK,
            bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"},
        )
    _boundary(axes, columns, ratio)
    axes.grid(visible=False)
    axes.set_xticks((columns[1:] + columns[:-1]) / 2, [_percent(value) for value in x])
    axes.set_yticks(np.arange(len(y)) + 0.5, [f"{value:g}" for value in y])
    axes.tick_params(length=0)
    axes.set_xlabel("non-zeros, %")
    axes.set_ylabel("batch")
    axes.set_title(f"{name} on one {result['crossover_layer']}:\ntimes as fast as best dense")
    axes.annotate(
        _verdict(ratio),
        (0.0, 0.0),
        xycoords="axes fraction",
        xytext=(0, -38),
        textcoords="offset points",
        fontsize=8,
        color=QUIET,
        annotation_clip=False,
    )


def _verdict(ratio: Array) -> str:
    lost = int(np.sum(ratio > 1.0))
    if not lost:
        return "no cell where dense is faster"
    worst = float(np.nanmax(ratio))
    return (
        f"hatched: dense is faster ({lost} of {np.isfinite(ratio).sum()} cells, up to {worst:.3g}x)"
    )


def _compared(cells: Rows) -> str:
    """The contender to map: the engine where it was timed, else the first that was."""
    names = [cell["contender"] for cell in cells if cell["time_ratio"] is not None]
    return _FIRST if _FIRST in names else next(iter(names), "")


def _grid(cells: Rows) -> tuple[list[float], list[int], Array]:
    """Densities, batches, and time ratios [batch, density]; NaN where there is no time."""
    x = sorted({float(cell["density"]) for cell in cells})
    y = sorted({int(cell["batch"]) for cell in cells})
    ratio = np.full((len(y), len(x)), np.nan)
    for cell in cells:
        if cell["time_ratio"] is not None:
            ratio[y.index(cell["batch"]), x.index(cell["density"])] = cell["time_ratio"]
    return x, y, ratio


def _hatch(axes: Axes, columns: Array, ratio: Array) -> None:
    """Lines over every losing cell."""
    patches = require("matplotlib.patches", "report")
    for row, column in zip(*np.nonzero(ratio > 1.0), strict=True):
        width = columns[column + 1] - columns[column]
        corner = (columns[column], row)
        axes.add_patch(
            patches.Rectangle(corner, width, 1, fill=False, hatch="///", edgecolor=_HATCH, lw=0)
        )


def _boundary(axes: Axes, columns: Array, ratio: Array) -> None:
    """The line where the ratio passes 1, between cells."""
    loses = ratio > 1.0
    line: dict[str, Any] = {"color": INK, "linewidth": 2.0, "solid_capstyle": "round"}
    for row, column in np.ndindex(*loses.shape):
        if column and loses[row, column] != loses[row, column - 1]:
            axes.plot([columns[column]] * 2, [row, row + 1], **line)
        if row and loses[row, column] != loses[row - 1, column]:
            axes.plot([columns[column], columns[column + 1]], [row, row], **line)


def draw_layers(axes: Axes, result: dict[str, Any]) -> None:
    """Time of single layers at the largest batch: the fastest dense contender and the others."""
    largest = max(row["batch"] for row in result["layers"])
    timed = [
        row for row in result["layers"] if row["batch"] == largest and row["status"] == "timed"
    ]
    names = list(dict.fromkeys(row["of"] for row in timed))
    series = {"best dense": _fastest([row for row in timed if row["dense"]])}
    for row in timed:
        if not row["dense"]:
            series.setdefault(row["contender"], {})[row["of"]] = row["median_s"]
    for (name, times), look, marker in zip(
        series.items(), looks(len(series)), "osD^vP", strict=False
    ):
        at = [names.index(layer) for layer in times]
        micro = [1e6 * seconds for seconds in times.values()]
        axes.plot(at, micro, f"{look.dash}{marker}", color=look.colour, ms=5, lw=1, label=name)
    axes.set_yscale("log")
    _plain(axes.yaxis)
    axes.set_xticks(range(len(names)), [_tick(name, timed) for name in names])
    axes.tick_params(axis="x", labelcolor=INK)
    axes.set_ylabel("microseconds a call")
    axes.set_xlabel("layer, zeros in its input")
    axes.set_title(f"Single layers, batch {largest}")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.35)  # room for the legend
    axes.legend(loc="upper right", ncols=2)


def _fastest(rows: Rows) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in rows:
        found[row["of"]] = min(row["median_s"], found.get(row["of"], np.inf))
    return found


def _tick(name: str, rows: Rows) -> str:
    zeros = next(row["zeros"] for row in rows if row["of"] == name)
    return f"{name.removeprefix('layers.')}\n{100 * zeros:.0f} %"


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.01 or share == 0.0 else f"{100 * share:.1g}"


def _plain(axis: Any) -> None:
    """Numbers as they are, on a logarithmic axis."""
    ticker = require("matplotlib.ticker", "report")
    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _colours() -> Any:
    colours = require("matplotlib.colors", "report")
    return colours.LinearSegmentedColormap.from_list("bench", [_LOSE, _EVEN, _WIN])


def _norm() -> Any:
    limit = np.log2(_RANGE)
    return require("matplotlib.colors", "report").Normalize(-limit, limit)


_WIDTHS = {draw_speed: 3.7, draw_crossover: 4.6, draw_layers: 3.7}  # inches
