"""How arms trained: variance maps, curves, zeros and gradients by layer, beside theory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sparsefield.errors import require
from sparsefield.pictures.arms import Arm, percent
from sparsefield.pictures.plotting import (
    INK,
    QUIET,
    Look,
    grid_of,
    house_style,
    label_ends,
    looks,
    new_figure,
    wrapped,
)
from sparsefield.pictures.prediction import (
    Array,
    at_start,
    fixed_points,
    gradient_profile,
    layer_map,
)
from sparsefield.train import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Seeds = Sequence[tuple[Array, Array]]  # x and y of each
THEORY: dict[str, Any] = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2))}
_FILL: dict[str, Literal["full", "left", "none"]] = {
    "stable": "full",
    "marginal": "left",
    "repels": "none",
}
_FEW = 3  # points of which a line would say more than they do
_WIDE = 10.0  # values that span more than this need a logarithmic axis
_VERY_WIDE = 300.0


@house_style
def variance_maps(arms: Sequence[Arm]) -> Figure:
    """V(q) of each arm, its fixed points, and q_l -> q_(l+1) as measured before the first step."""
    figure, panels = grid_of(len(arms), height=3.1 if len(arms) > 2 else 3.7)  # room for the key
    for axes, arm, look in zip(panels, arms, looks(len(arms)), strict=True):
        _draw_map(axes, arm, look)
        axes.set_title(wrapped(arm.label, 40), color=look.text)
        axes.set_xlabel("variance $q_l$ of layer $l$")
        axes.set_ylabel("$q_{l+1}$ and $V(q_l)$")
    columns = 3 if figure.get_figwidth() < 9 else 6
    figure.legend(handles=_map_key(), loc="outside lower center", ncols=columns)
    return figure


@house_style
def curves(arms: Sequence[Arm]) -> Figure:
    """Training loss and test accuracy by step."""
    figure = new_figure(10.0, 3.6)
    loss, accuracy = figure.subplots(1, 2)
    styles = looks(len(arms))
    for arm, look in zip(arms, styles, strict=True):
        draw_seeds(loss, look, [loss_by_step(run) for run in arm.runs])
        draw_seeds(accuracy, look, [_accuracy_by_step(run) for run in arm.runs])
    _scale(loss)
    loss.set_ylabel("training loss (nats)")
    accuracy.set_ylabel("test accuracy (%)")
    accuracy.set_ylim(_floor(accuracy.dataLim.y0), 101)
    for axes in (loss, accuracy):
        axes.set_xlabel("optimiser step")
        axes.set_xlim(0, 1.02 * max(run.result.steps for arm in arms for run in arm.runs))
    ends = [
        (100 * arm.accuracy.estimate, f"{wrapped(arm.label)}\n{percent(arm.accuracy)} %", look)
        for arm, look in zip(arms, styles, strict=True)
    ]
    label_ends(accuracy, ends)
    return figure


@house_style
def zeros(arms: Sequence[Arm]) -> Figure:
    """Share of exact zeros by layer, before the first step and after the last, beside theory."""
    figure, panels = grid_of(len(arms), height=2.6)
    for axes, arm, look in zip(panels, arms, looks(len(arms)), strict=True):
        before = [by_layer(100 * np.array(run.result.sparsity_init)) for run in arm.runs]
        after = [by_layer(100 * np.array(run.result.sparsity_per_layer)) for run in arm.runs]
        draw_seeds(axes, Look(QUIET, "-"), before, label="before training")
        draw_seeds(axes, look, after, label="after training")
        axes.axhline(100 * arm.config.sparsity, label="aimed at", **THEORY)
        axes.set_title(wrapped(arm.label, 40), color=look.text)
        _layers_across(axes)
        axes.set_ylabel("exact zeros (%)")
    lowest = min(float(axes.dataLim.y0) for axes in panels)
    for axes in panels:
        axes.set_ylim(_floor(lowest), 101)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@house_style
def depth_profiles(arms: Sequence[Arm]) -> Figure:
    """Variance q and rms gradient by layer before the first step, beside theory."""
    figure = new_figure(10.0, 3.8)
    variance, gradient = figure.subplots(1, 2)
    draw_profiles(variance, arms, "q")
    variance.set_ylabel("variance $q_l$")
    draw_profiles(gradient, arms, "grad_rms")
    gradient.set_ylabel("rms gradient at $h_l$")
    return figure


def draw_seeds(
    axes: Axes,
    look: Look,
    seeds: Seeds,
    average: Callable[[Array], Array] = lambda rows: np.mean(rows, axis=0),
    **kwargs: Any,
) -> Array:
    """Thin: each seed. Thick: their average at the x that all have; returned."""
    common = sorted(set.intersection(*(set(x.tolist()) for x, _ in seeds)))
    mean = average(np.array([y[np.isin(x, common)] for x, y in seeds]))
    few = len(common) < _FEW
    thin: dict[str, Any] = {"color": look.colour, "linewidth": 0.6, "alpha": 0.55}
    for x, y in seeds:
        axes.plot(x, y, "." if few else look.dash, ms=4, **thin)
    axes.plot(common, mean, "D" if few else look.dash, color=look.colour, lw=2, ms=6, **kwargs)
    return mean


def draw_profiles(axes: Axes, arms: Sequence[Arm], column: Literal["q", "grad_rms"]) -> None:
    """A measurement by layer before the first step, of every arm: seeds, mean, theory, label."""
    styles = looks(len(arms))
    ends = [_draw_profile(axes, *pair, column) for pair in zip(arms, styles, strict=True)]
    _layers_across(axes)
    if not np.isfinite(ends).any():
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"{column} was not measured", transform=axes.transAxes, ha="center")
        return
    _scale(axes)
    labels = [
        (end, wrapped(arm.label), look)
        if math.isfinite(end)
        else (axes.get_ylim()[0], f"{wrapped(arm.label)}: zero", look)
        for end, arm, look in zip(ends, arms, styles, strict=True)
    ]
    label_ends(axes, labels)


def _draw_profile(axes: Axes, arm: Arm, look: Look, column: str) -> float:
    """Where the mean ends, or NaN."""
    rows = [at_start(run, column) for run in arm.runs]
    if not len(rows[0]):
        return math.nan
    positive = [by_layer(np.where(row > 0, row, np.nan)) for row in rows]
    mean = draw_seeds(axes, look, positive, lambda rows: np.exp(np.log(rows).mean(axis=0)))
    q, measured = at_start(arm.runs[0], "q_theory"), column == "grad_rms"
    axes.plot(*by_layer(mean[-1] * gradient_profile(arm) if measured else q), **THEORY)
    return float(mean[-1])


def by_layer(values: Array) -> tuple[Array, Array]:
    """Layers from 1, and the values."""
    return np.arange(1, len(values) + 1), values


def loss_by_step(run: Run) -> tuple[Array, Array]:
    """The recorded loss; a row is the mean since the row before.

    One of few batches looks like a spike, so a short row is joined with the row before it.
    """
    kept = np.isfinite(run.metrics["loss"])
    steps, losses = run.metrics["step"][kept], run.metrics["loss"][kept]
    counts = np.diff(steps, prepend=0)
    joined: list[tuple[int, float, int]] = []  # last step, sum of losses, steps
    for step, loss, count in zip(steps, losses * counts, counts, strict=True):
        short = joined and count < np.median(counts) / 2
        _, total, length = joined.pop() if short else (0, 0.0, 0)
        joined.append((step, total + loss, length + count))
    return (
        np.array([step for step, _, _ in joined], dtype=int),
        np.array([total / length for _, total, length in joined]),
    )


def _accuracy_by_step(run: Run) -> tuple[Array, Array]:
    """In per cent, where it was evaluated."""
    made = np.isfinite(run.metrics["test_accuracy"])
    return run.metrics["step"][made], 100 * run.metrics["test_accuracy"][made]


def _layers_across(axes: Axes) -> None:
    axes.set_xlabel("layer $l$")
    axes.xaxis.set_major_locator(require("matplotlib.ticker", "report").MaxNLocator(integer=True))


def _floor(percent: float) -> float:
    """Where an axis in per cent begins: the ten below."""
    return max(0.0, 10 * math.floor((percent - 1) / 10))


def _scale(axes: Axes) -> None:
    """Logarithmic, if what is drawn spans much."""
    if axes.dataLim.y1 > _WIDE * axes.dataLim.minposy:
        axes.set_yscale("log")


def _draw_map(axes: Axes, arm: Arm, look: Look) -> None:
    measured = [at_start(run, "q") for run in arm.runs]
    low, high, logarithmic = _range(arm, measured)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    q = np.geomspace(low, high, 300) if logarithmic else np.linspace(low, high, 300)[1:]
    axes.plot([low, high], [low, high], color=QUIET, linewidth=0.8)
    axes.plot(q, layer_map(arm.config)(q), color=look.colour, linewidth=1.8)
    for values in measured:
        axes.plot(values[:-1], values[1:], "o", ms=3.2, mew=0, color=INK, alpha=0.35)
    _mark_fixed_points(axes, arm, look, high)
    margin = 0.0 if logarithmic else 0.03 * high  # points at zero stay whole
    axes.set_xlim(low - margin, high)
    axes.set_ylim(low - margin, high)
    axes.set_box_aspect(0.8)


def _map_key() -> list[Line2D]:
    line: type[Line2D] = require("matplotlib.lines", "report").Line2D
    marks: dict[str, Any] = {"marker": "o", "color": QUIET, "linestyle": "none"}
    fixed: dict[str, Any] = {**marks, "ms": 8, "mec": INK}
    return [
        line([], [], color=QUIET, linewidth=1.8, label="theory, $V(q)$"),
        line([], [], color=QUIET, linewidth=0.8, label="$q_{l+1} = q_l$"),
        line([], [], **marks, ms=3.2, label="measured, a layer of a seed"),
        *(line([], [], **fixed, fillstyle=f, label=f"fixed point: {k}") for k, f in _FILL.items()),
    ]


def _range(arm: Arm, measured: list[Array]) -> tuple[float, float, bool]:
    """Limits that hold q* and every measured q; whether they need logarithmic axes."""
    fixed = [point.q for point in fixed_points(arm)][:1]
    stars = [arm.config.q] if arm.config.init == "eoc" or not fixed else []
    values = np.concatenate([*measured, stars, fixed])
    values = values[np.isfinite(values) & (values > 0)]
    if values.max() > _VERY_WIDE * values.min():
        margin = float(values.max() / values.min()) ** 0.08
        return float(values.min() / margin), float(values.max() * margin), True
    return 0.0, float(values.max() * (1.25 if measured[0].size else 2.0)), False


def _mark_fixed_points(axes: Axes, arm: Arm, look: Look, high: float) -> None:
    name = "$q^*$" if arm.config.init == "eoc" else "$q$"
    box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    for point in fixed_points(arm):
        if point.q > high:
            continue
        mark: dict[str, Any] = {"mfcalt": "white", "mec": INK, "zorder": 5}
        fill = _FILL[point.kind]
        axes.plot(point.q, point.q, "o", ms=9, fillstyle=fill, color=look.colour, **mark)
        axes.annotate(
            f"{name} = {point.q:.3g}",
            (point.q, point.q),
            xytext=(11, 3) if point.q < high / 8 else (9, -9),
            textcoords="offset points",
            va="bottom" if point.q < high / 8 else "top",
            bbox=box,
        )
