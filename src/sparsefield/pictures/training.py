"""How arms trained: variance maps, curves, zeros and gradients by layer, beside theory."""

from __future__ import annotations

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
    plain_log,
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

Series = Callable[[Run], tuple[Array, Array]]  # x and y of a seed
THEORY: dict[str, Any] = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2))}
_FILL: dict[str, Literal["full", "left", "none"]] = {
    "stable": "full",
    "marginal": "left",
    "repels": "none",
}
_FEW = 3  # points of which a line would say more than they do
_WIDE = 10.0  # values that span more than this need a logarithmic axis,
_PLAIN = 300.0  # and more than this powers of ten at its ticks


@house_style
def variance_maps(arms: Sequence[Arm]) -> Figure:
    """V(q) of each arm, its fixed points, and q_l -> q_(l+1) as measured before the first step."""
    figure, panels = grid_of(len(arms), height=3.4)
    for axes, arm, look in zip(panels, arms, looks(len(arms)), strict=True):
        _draw_map(axes, arm, look)
        axes.set_title(wrapped(arm.label, 40), color=look.text)
        axes.set_xlabel("variance $q_l$ of layer $l$")
        axes.set_ylabel("$q_{l+1}$ and $V(q_l)$")
    figure.legend(handles=_map_key(), loc="outside lower center", ncols=6 if len(arms) > 2 else 3)
    return figure


@house_style
def curves(arms: Sequence[Arm]) -> Figure:
    """Training loss and test accuracy by step."""
    figure = new_figure(10.0, 3.6)
    loss, accuracy = figure.subplots(1, 2)
    draw_arms(loss, arms, loss_by_step)
    names = [f"{wrapped(arm.label)}\n{percent(arm.accuracy)} %" for arm in arms]
    draw_arms(accuracy, arms, accuracy_by_step, names=names, log=False)
    loss.set(xlabel="optimiser step", ylabel="training loss (nats)")
    accuracy.set(xlabel="optimiser step", ylabel="test accuracy (%)")
    return figure


@house_style
def zeros(arms: Sequence[Arm]) -> Figure:
    """Share of exact zeros by layer, before the first step and after the last."""
    figure = new_figure(10.0, 3.6)
    before, after = figure.subplots(1, 2)
    results = [run.result for arm in arms for run in arm.runs]
    lowest = min(min(*each.sparsity_init, *each.sparsity_per_layer) for each in results)
    for axes in (before, after):
        axes.set_ylim(np.floor(10 * lowest - 0.1) * 10, 100.5)
        for target in {arm.config.sparsity for arm in arms}:
            axes.axhline(100 * target, **THEORY)
    draw_arms(before, arms, lambda run: _by_layer(run.result.sparsity_init, 100), log=False)
    draw_arms(after, arms, lambda run: _by_layer(run.result.sparsity_per_layer, 100), log=False)
    before.set(title="before training", xlabel="layer $l$", ylabel="exact zeros (%)")
    after.set(title="after training", xlabel="layer $l$")
    return figure


@house_style
def depth_profiles(arms: Sequence[Arm]) -> Figure:
    """Variance q and rms gradient by layer before the first step, beside theory."""
    figure = new_figure(10.0, 3.8)
    variance, gradient = figure.subplots(1, 2)
    draw_variance(variance, arms)
    variance.set_ylabel("variance $q_l$")
    means = draw_arms(gradient, arms, lambda run: _by_layer(at_start(run, "grad_rms")))
    for arm, mean in zip(arms, means, strict=True):
        gradient.plot(*_by_layer(gradient_profile(arm), mean[-1:]), **THEORY)
    gradient.set(xlabel="layer $l$", ylabel="rms gradient at $h_l$")
    return figure


def draw_variance(axes: Axes, arms: Sequence[Arm]) -> None:
    """The variance of every layer before the first step, beside theory."""
    draw_arms(axes, arms, lambda run: _by_layer(at_start(run, "q")))
    for arm in arms:
        axes.plot(*_by_layer(at_start(arm.runs[0], "q_theory")), **THEORY)
    axes.set_xlabel("layer $l$")


def draw_arms(
    axes: Axes,
    arms: Sequence[Arm],
    series: Series,
    *,
    names: Sequence[str] | None = None,
    log: bool = True,
) -> list[Array]:
    """Thin: each seed. Thick: their mean, which is returned and has its name at its end.

    ``log``: means are geometric, and the axis is logarithmic where values span much.
    """
    named = names or [wrapped(arm.label) for arm in arms]
    styles = looks(len(arms))
    seeds = [[series(run) for run in arm.runs] for arm in arms]
    means = [_draw_seeds(axes, *pair, log=log) for pair in zip(styles, seeds, strict=True)]
    if log and axes.dataLim.y1 > _WIDE * axes.dataLim.minposy:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(require("matplotlib.ticker", "report").MaxNLocator(integer=True))
    low = axes.get_ylim()[0]
    finite = [bool(np.isfinite(mean[-1:]).sum()) for mean in means]
    ends = [
        (float(mean[-1]), name, look) if known else (low, f"{name}: none", look)
        for mean, name, look, known in zip(means, named, styles, finite, strict=True)
    ]
    label_ends(axes, ends)
    return means


def _draw_seeds(axes: Axes, look: Look, seeds: list[tuple[Array, Array]], *, log: bool) -> Array:
    """The mean is taken where all seeds have a value."""
    common = sorted(set.intersection(*(set(x.tolist()) for x, _ in seeds)))
    rows = np.array([y[np.isin(x, common)] for x, y in seeds])
    mean: Array = np.exp(np.log(_positive(rows)).mean(axis=0)) if log else rows.mean(axis=0)
    few = len(common) < _FEW
    thin: dict[str, Any] = {"color": look.colour, "linewidth": 0.6, "alpha": 0.55}
    for x, y in seeds:
        axes.plot(x, _positive(y) if log else y, "." if few else look.dash, ms=4, **thin)
    axes.plot(common, mean, "D" if few else look.dash, color=look.colour, linewidth=2.0, ms=6)
    return mean


def _positive(values: Array) -> Array:
    return np.where(values > 0, values, np.nan)


def _by_layer(values: Any, factor: Any = 1.0) -> tuple[Array, Array]:
    """Layers from 1, and the values times the factor."""
    return np.arange(1, len(values) + 1), np.asarray(values) * factor


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
    last, totals, lengths = np.array(joined, dtype=float).reshape(-1, 3).T
    return last, totals / lengths


def accuracy_by_step(run: Run) -> tuple[Array, Array]:
    """Test accuracy in per cent, where it was evaluated."""
    made = np.isfinite(run.metrics["test_accuracy"])
    return run.metrics["step"][made], 100 * run.metrics["test_accuracy"][made]


def _draw_map(axes: Axes, arm: Arm, look: Look) -> None:
    measured, fixed = [at_start(run, "q") for run in arm.runs], fixed_points(arm)
    values = np.concatenate([*measured, [point.q for point in fixed]])
    values = values[np.isfinite(values) & (values > 0)] if len(values) else np.array([arm.config.q])
    q = np.geomspace(values.min() / 2, values.max() * 2, 300)
    axes.loglog(q, q, color=QUIET, linewidth=0.8)
    axes.loglog(q, layer_map(arm.config)(q), color=look.colour, linewidth=1.8)
    for each in measured:
        axes.loglog(each[:-1], each[1:], "o", ms=3.2, mew=0, color=INK, alpha=0.35)
    for point in fixed:
        face: dict[str, Any] = {"color": look.colour, "mfcalt": "white", "mec": INK, "zorder": 5}
        axes.loglog(point.q, point.q, "o", ms=8, fillstyle=_FILL[point.kind], **face)
    axes.set(xlim=(q[0], q[-1]), ylim=(q[0], q[-1]), box_aspect=0.8)
    if q[-1] < _PLAIN * q[0]:
        plain_log(axes.xaxis)
        plain_log(axes.yaxis)


def _map_key() -> list[Any]:
    line = require("matplotlib.lines", "report").Line2D
    marks: dict[str, Any] = {"marker": "o", "color": QUIET, "linestyle": "none"}
    fixed: dict[str, Any] = {**marks, "ms": 8, "mec": INK}
    return [
        line([], [], color=QUIET, linewidth=1.8, label="theory, $V(q)$"),
        line([], [], color=QUIET, linewidth=0.8, label="$q_{l+1} = q_l$"),
        line([], [], **marks, ms=3.2, label="measured, a layer of a seed"),
        *(line([], [], **fixed, fillstyle=f, label=f"fixed point: {k}") for k, f in _FILL.items()),
    ]
