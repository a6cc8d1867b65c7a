"""The report's figures, each made from recorded runs and drawn beside what theory says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sparsefield.errors import require
from sparsefield.pictures.arms import Arm
from sparsefield.pictures.plotting import (
    INK,
    QUIET,
    Look,
    grid_of,
    label_ends,
    looks,
    new_figure,
    styled,
    wrapped,
)
from sparsefield.pictures.prediction import (
    Array,
    at_start,
    fixed_points,
    geometric_mean,
    gradient_profile,
    layer_map,
)
from sparsefield.train import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_FILL: dict[str, Literal["full", "left", "none"]] = {
    "stable": "full",
    "marginal": "left",
    "repelling": "none",
}
_LOGARITHMIC = 300.0  # measured q that spans more than this needs logarithmic axes
_THEORY: dict[str, Any] = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2))}
_NAMES = {"stable": "stable", "marginal": "marginal", "repelling": "repels"}


def variance_maps(arms: Sequence[Arm]) -> Figure:
    """V(q) of each arm, its fixed points, and q_l -> q_(l+1) as measured before the first step."""
    return styled(lambda: _variance_maps(arms))


def curves(arms: Sequence[Arm]) -> Figure:
    """Training loss and test accuracy by step: the mean over seeds, and each seed."""
    return styled(lambda: _curves(arms))


def sparsity(arms: Sequence[Arm]) -> Figure:
    """Share of exact zeros by layer, before the first step and after the last, beside theory."""
    return styled(lambda: _sparsity(arms))


def depth_profiles(arms: Sequence[Arm]) -> Figure:
    """Variance q and rms gradient by layer before the first step, beside theory."""
    return styled(lambda: _depth_profiles(arms))


def _variance_maps(arms: Sequence[Arm]) -> Figure:
    figure, panels = grid_of(len(arms))
    for axes, arm, look in zip(panels, arms, looks(len(arms)), strict=True):
        draw_map(axes, arm, look)
        axes.set_title(arm.label, color=look.text)
        axes.set_xlabel("variance $q_l$ of layer $l$")
        axes.set_ylabel("$q_{l+1}$ and $V(q_l)$")
    figure.legend(handles=_map_key(), loc="outside lower center", ncols=6)
    return figure


def draw_map(axes: Axes, arm: Arm, look: Look) -> None:
    """One panel of :func:`variance_maps`."""
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
    return [
        line([], [], color=QUIET, linewidth=1.8, label="theory, $V(q)$"),
        line([], [], color=QUIET, linewidth=0.8, label="$q_{l+1} = q_l$"),
        line([], [], **marks, ms=3.2, label="measured, a layer of a seed"),
        *(
            line(
                [], [], **marks, ms=8, fillstyle=fill, mec=INK, label=f"fixed point: {_NAMES[kind]}"
            )
            for kind, fill in _FILL.items()
        ),
    ]


def _range(arm: Arm, measured: list[Array]) -> tuple[float, float, bool]:
    """Limits that hold q* and every measured q; whether they need logarithmic axes."""
    stars = [arm.config.q] if arm.config.init == "eoc" else []
    values = np.concatenate([*measured, stars, [m.q for m in fixed_points(arm)][:1]])
    values = values[np.isfinite(values) & (values > 0)]
    if values.max() > _LOGARITHMIC * values.min():
        margin = float(values.max() / values.min()) ** 0.08
        return float(values.min() / margin), float(values.max() * margin), True
    return 0.0, float(values.max() * (1.25 if measured[0].size else 2.0)), False


def _mark_fixed_points(axes: Axes, arm: Arm, look: Look, high: float) -> None:
    name = "$q^*$" if arm.config.init == "eoc" else "$q$"
    for marker in fixed_points(arm):
        if marker.q > high:
            continue
        axes.plot(
            marker.q,
            marker.q,
            "o",
            ms=9,
            fillstyle=_FILL[marker.kind],
            color=look.colour,
            markerfacecoloralt="white",
            markeredgecolor=INK,
            zorder=5,
        )
        at_edge = marker.q < high / 8
        axes.annotate(
            f"{name} = {marker.q:.3g}",
            (marker.q, marker.q),
            xytext=(11, 3) if at_edge else (7, -9),
            textcoords="offset points",
            va="bottom" if at_edge else "top",
            color=INK,
        )


def _curves(arms: Sequence[Arm]) -> Figure:
    figure = new_figure(10.0, 3.6)
    loss, accuracy = figure.subplots(1, 2)
    styles = looks(len(arms))
    for arm, look in zip(arms, styles, strict=True):
        _curve(loss, arm, look, "loss", 1.0)
        _curve(accuracy, arm, look, "test_accuracy", 100.0)
    loss.set_yscale("log")
    loss.set_ylabel("training loss (nats)")
    accuracy.set_ylabel("test accuracy (%)")
    accuracy.set_ylim(0, 101)
    for axes in (loss, accuracy):
        axes.set_xlabel("optimiser step")
        axes.set_xlim(left=0)
    _label_accuracies(figure, accuracy, arms, styles)
    return figure


def _curve(axes: Axes, arm: Arm, look: Look, column: str, scale: float) -> None:
    """Thin lines for the seeds, a thick one for their mean at the steps that all have."""
    seeds = [_series(run, column, scale) for run in arm.runs]
    for steps, values in seeds:
        axes.plot(steps, values, look.dash, color=look.colour, linewidth=0.6, alpha=0.55)
    common = sorted(set.intersection(*(set(steps.tolist()) for steps, _ in seeds)))
    kept = [values[np.isin(steps, common)] for steps, values in seeds]
    axes.plot(common, np.mean(kept, axis=0), look.dash, color=look.colour, linewidth=2.0)


def _series(run: Run, column: str, scale: float) -> tuple[Array, Array]:
    """Steps and finite values of a column of metrics."""
    values = run.metrics[column]
    finite = np.isfinite(values)
    return run.metrics["step"][finite], scale * values[finite]


def _label_accuracies(
    figure: Figure, axes: Axes, arms: Sequence[Arm], styles: Sequence[Look]
) -> None:
    figure.draw_without_rendering()  # fixes the height of the axes, which the labels share
    ends = [
        (100 * arm.accuracy.mean, f"{wrapped(arm.label)}: {arm.accuracy.percent()}", look)
        for arm, look in zip(arms, styles, strict=True)
    ]
    label_ends(axes, ends)


def _sparsity(arms: Sequence[Arm]) -> Figure:
    figure, panels = grid_of(len(arms), height=2.6)
    lows = [
        min(*run.result.sparsity_init, *run.result.sparsity_per_layer)
        for arm in arms
        for run in arm.runs
    ]
    floor = max(0.0, math.floor(10 * min(lows)) * 10 - 5)
    for axes, arm, look in zip(panels, arms, looks(len(arms)), strict=True):
        _draw_sparsity(axes, arm, look)
        axes.set_title(arm.label, color=look.text)
        axes.set_ylim(floor, 101)
        axes.set_xlabel("layer $l$")
        axes.set_ylabel("exact zeros (%)")
    panels[0].legend(loc="lower left")
    return figure


def _draw_sparsity(axes: Axes, arm: Arm, look: Look) -> None:
    before = 100 * np.array([run.result.sparsity_init for run in arm.runs])
    after = 100 * np.array([run.result.sparsity_per_layer for run in arm.runs])
    layers = np.arange(1, before.shape[1] + 1)
    for values, colour in ((before, QUIET), (after, look.colour)):
        axes.plot(layers, values.T, "o", ms=2.4, mew=0, color=colour, alpha=0.4)
    axes.plot(layers, before.mean(0), color=QUIET, linewidth=1.6, label="before training")
    axes.plot(layers, after.mean(0), color=look.colour, linewidth=1.8, label="after training")
    theory = 100 * at_start(arm.runs[0], "sparsity_theory")
    axes.plot(layers[: len(theory)], theory, label="theory at initialisation", **_THEORY)


def _depth_profiles(arms: Sequence[Arm]) -> Figure:
    figure = new_figure(10.0, 3.8)
    variance, gradient = figure.subplots(1, 2)
    styles = looks(len(arms))
    ends = [
        (draw_profile(variance, arm, look, "q"), draw_profile(gradient, arm, look, "grad_rms"))
        for arm, look in zip(arms, styles, strict=True)
    ]
    variance.set_ylabel("variance $q_l$")
    gradient.set_ylabel("rms gradient at $h_l$")
    figure.draw_without_rendering()
    for axes, column in ((variance, 0), (gradient, 1)):
        label_profiles(axes, arms, styles, [end[column] for end in ends])
    return figure


def draw_profile(axes: Axes, arm: Arm, look: Look, column: str) -> float:
    """Draw an arm's seeds, their geometric mean and theory; where the mean ends, or NaN."""
    rows = [at_start(run, column) for run in arm.runs]
    if not len(rows[0]):
        return math.nan
    mean, layers = geometric_mean(rows), np.arange(1, len(rows[0]) + 1)
    for row in rows:
        axes.plot(layers, np.where(row > 0, row, np.nan), color=look.colour, lw=0.6, alpha=0.5)
    axes.plot(layers, mean, look.dash, color=look.colour, linewidth=2.0)
    theory = (
        at_start(arm.runs[0], "q_theory") if column == "q" else mean[-1] * gradient_profile(arm)
    )
    axes.plot(layers, theory, **_THEORY)
    return float(mean[-1])


def label_profiles(
    axes: Axes, arms: Sequence[Arm], styles: Sequence[Look], ends: list[float]
) -> None:
    """Finish the axes of :func:`draw_profile` and label the lines, which end at ``ends``."""
    axes.set_xlabel("layer $l$")
    if not np.isfinite(ends).any():
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
        return
    axes.set_yscale("log")
    low = axes.get_ylim()[0]
    label_ends(
        axes,
        [
            (y if math.isfinite(y) else low, _profile_label(arm, y), look)
            for arm, look, y in zip(arms, styles, ends, strict=True)
        ],
    )


def _profile_label(arm: Arm, end: float) -> str:
    return wrapped(arm.label if math.isfinite(end) else f"{arm.label}: zero")
