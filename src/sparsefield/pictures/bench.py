"""The bench as a picture: speed, and where it turns over; drawn from its JSON alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefield.pictures.plotting import INK, QUIET, house_style, looks, new_figure, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FIRST = "engine"  # the contender of density x batch, where it was timed


@house_style
def bench_figure(result: dict[str, Any]) -> Figure:
    """Left: speed-ups with quartiles; right: speed over density, a line a batch.

    ``result`` is :meth:`sparsefield.bench.BenchResult.to_dict`, or its JSON read back; a
    part that was not timed has no panel.
    """
    panels = [(draw_speed, 4.6)]
    if any(cell["time_ratio"] is not None for cell in result["crossover"]):
        panels.append((draw_crossover, 5.0))
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
    """Speed beside the fastest dense contender over density, a line a batch; below 1 it loses."""
    timed = [cell for cell in result["crossover"] if cell["time_ratio"] is not None]
    names = [cell["contender"] for cell in timed]
    name = _FIRST if _FIRST in names else names[0]
    cells = sorted((x for x in timed if x["contender"] == name), key=lambda x: x["density"])
    densities = list(dict.fromkeys(cell["density"] for cell in cells))
    batches = sorted({cell["batch"] for cell in cells})
    for batch, look in zip(batches, looks(len(batches)), strict=True):
        those = [cell for cell in cells if cell["batch"] == batch]
        at = [densities.index(cell["density"]) for cell in those]  # evenly: 0 has no logarithm
        speed = [1.0 / cell["time_ratio"] for cell in those]
        axes.plot(at, speed, "o-", color=look.colour, ms=3.5, label=f"batch {batch}")
    axes.axhline(1.0, color=INK, linewidth=1.0)
    axes.set_xticks(range(len(densities)), [_percent(value) for value in densities])
    axes.set_yscale("log")
    plain_log(axes.yaxis)
    axes.set_xlabel("non-zeros (%)")
    axes.set_ylabel("times as fast as best dense")
    axes.set_title(f"{name} on one {result['crossover_layer']}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3)


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.01 or share == 0.0 else f"{100 * share:.1g}"
