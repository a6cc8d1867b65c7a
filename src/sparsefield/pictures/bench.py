"""The bench as a picture: speed, density x batch, and layers; drawn from its JSON alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefield.errors import require
from sparsefield.pictures.plotting import INK, QUIET, house_style, looks, new_figure, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[dict[str, Any]]
Array = NDArray[np.float64]
# dark blue wins, orange loses, white between: told apart in grey as well by the hatching
_WIN, _EVEN, _LOSE, _HATCH = "#3b7cb0", "#ffffff", "#e3a27a", "#b3703f"
_RANGE = 16.0  # the colours end at 16 times faster or slower
_FIRST = "engine"  # the contender of density x batch, where it was timed
_MARKERS = "osD^vP"


@house_style
def bench_figure(result: dict[str, Any]) -> Figure:
    """Left: speed-ups with quartiles; middle: density x batch; right: single layers.

    ``result`` is :meth:`sparsefield.bench.BenchResult.to_dict`, or its JSON read back; a
    part that was not timed has no panel.
    """
    panels = [(draw_speed, 3.7)]
    if any(cell["time_ratio"] is not None for cell in result["crossover"]):
        panels.append((draw_crossover, 4.6))
    if any(row["status"] == "timed" for row in result["layers"]):
        panels.append((draw_layers, 3.7))
    widths = [width for _, width in panels]
    figure = new_figure(sum(widths), 3.8)
    for axes, (draw, _) in zip(
        np.atleast_1d(figure.subplots(1, len(panels), width_ratios=widths)), panels, strict=True
    ):
        draw(axes, result)
    cpu, threads = result["hardware"].get("cpu", ""), f"threads: {result['threads']}"
    zeros = f"{100 * result['sparsity']:.1f} % zeros"
    heading = ", ".join(part for part in (result["subject"], zeros, threads, cpu) if part)
    figure.suptitle(heading, x=0.01, ha="left", fontsize=9, color=QUIET)
    return figure


def draw_speed(axes: Axes, result: dict[str, Any]) -> None:
    """One group of bars a contender, one bar a batch; whiskers are quartiles."""
    timed = [row for row in result["rows"] if row["status"] == "timed"]
    names = list(dict.fromkeys(row["contender"] for row in timed))
    batches = list(dict.fromkeys(row["batch"] for row in timed))
    height = 0.8 / len(batches)
    for index, (batch, look) in enumerate(zip(batches, looks(len(batches)), strict=True)):
        rows = [row for row in timed if row["batch"] == batch]
        at = [names.index(row["contender"]) + (index + 0.5) * height - 0.4 for row in rows]
        speed = np.array([row["speedup"] for row in rows])
        low, high = np.array([row["speedup_quartiles"] for row in rows]).T
        axes.barh(at, speed - 1.0, height, left=1.0, color=look.colour, label=f"batch {batch}")
        reach = [np.clip(speed - low, 0.0, None), np.clip(high - speed, 0.0, None)]
        axes.errorbar(speed, at, xerr=reach, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2)
        beside: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        for y, x, value in zip(at, np.maximum(np.maximum(speed, high), 1.0), speed, strict=True):
            axes.annotate(_short(value), (x, y), fontsize=7, color=look.text, **beside)
    axes.axvline(1.0, color=INK, linewidth=1.0)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xscale("log")
    plain_log(axes.xaxis)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.7), high * 1.6)  # room for the numbers
    axes.set_xlabel("times as fast as best dense (whiskers: quartiles)")
    axes.set_title("Whole network")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3, handlelength=1.2)


def draw_crossover(axes: Axes, result: dict[str, Any]) -> None:
    """Speed beside the fastest dense contender over density x batch; hatched: it loses."""
    timed = [cell for cell in result["crossover"] if cell["time_ratio"] is not None]
    names = [cell["contender"] for cell in timed]
    name = _FIRST if _FIRST in names else names[0]
    x, y, speed = _grid([cell for cell in timed if cell["contender"] == name])
    # one width for all: neither the densities nor the batches are evenly spaced
    ends, limit = (-0.5, len(x) - 0.5, -0.5, len(y) - 0.5), np.log2(_RANGE)
    ramp = require("matplotlib.colors", "report").LinearSegmentedColormap.from_list
    colours: dict[str, Any] = {"cmap": ramp("", [_LOSE, _EVEN, _WIN]), "vmin": -limit}
    axes.imshow(np.log2(speed), origin="lower", aspect="auto", extent=ends, vmax=limit, **colours)
    rectangle = require("matplotlib.patches", "report").Rectangle
    hatched: dict[str, Any] = {"fill": False, "hatch": "///", "edgecolor": _HATCH, "lw": 0}
    box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"}
    for row, column in np.argwhere(np.isfinite(speed)):
        value = float(speed[row, column])
        if value < 1.0:
            axes.add_patch(rectangle((column - 0.5, row - 0.5), 1, 1, **hatched))
        middle: dict[str, Any] = {"ha": "center", "va": "center", "bbox": box}
        axes.text(column, row, _short(value), fontsize=7, color=INK, **middle)
    axes.grid(visible=False)
    axes.set_xticks(range(len(x)), [_percent(value) for value in x])
    axes.set_yticks(range(len(y)), [f"{value:g}" for value in y])
    axes.tick_params(length=0)
    axes.set_xlabel("non-zeros (%)")
    axes.set_ylabel("batch")
    axes.set_title(f"{name} on one {result['crossover_layer']}:\ntimes as fast as best dense")
    key = rectangle((0, 0), 1, 1, **hatched, label="dense is faster")
    axes.legend(handles=[key], loc="upper center", bbox_to_anchor=(0.5, -0.17))


def draw_layers(axes: Axes, result: dict[str, Any]) -> None:
    """Time of single layers at the largest batch: the fastest dense contender and the others."""
    largest = max(row["batch"] for row in result["layers"])
    at_largest = [row for row in result["layers"] if row["batch"] == largest]
    timed = [row for row in at_largest if row["status"] == "timed"]
    names = list(dict.fromkeys(row["of"] for row in timed))
    series: dict[str, dict[str, float]] = {}
    for row in timed:
        times = series.setdefault("best dense" if row["dense"] else row["contender"], {})
        times[row["of"]] = min(row["median_s"], times.get(row["of"], np.inf))
    styles = zip(series.items(), looks(len(series)), _MARKERS, strict=False)
    for index, ((name, times), look, marker) in enumerate(styles):
        aside = 0.14 * (index - (len(series) - 1) / 2)  # layers are apart: no line joins them
        at = [names.index(layer) + aside for layer in times]
        micro = [1e6 * seconds for seconds in times.values()]
        axes.plot(at, micro, marker, color=look.colour, ms=6, label=name)
    axes.set_yscale("log")
    plain_log(axes.yaxis)
    zeros = {row["of"]: row["zeros"] for row in timed}
    ticks = [f"{name.removeprefix('layers.')}\n{100 * zeros[name]:.0f} %" for name in names]
    axes.set_xticks(range(len(names)), ticks)
    axes.tick_params(axis="x", labelcolor=INK, length=0)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylabel("microseconds a call")
    axes.set_xlabel("layer, zeros in its input")
    axes.set_title(f"Single layers, batch {largest}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)


def _grid(cells: Rows) -> tuple[list[float], list[int], Array]:
    """Densities, batches, and speed-ups [batch, density]; NaN where there is no time."""
    x = sorted({float(cell["density"]) for cell in cells})
    y = sorted({int(cell["batch"]) for cell in cells})
    speed = np.full((len(y), len(x)), np.nan)
    for cell in cells:
        speed[y.index(cell["batch"]), x.index(cell["density"])] = 1.0 / cell["time_ratio"]
    return x, y, speed


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.01 or share == 0.0 else f"{100 * share:.1g}"
