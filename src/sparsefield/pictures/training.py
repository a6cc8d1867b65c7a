"""How arms trained: curves, and zeros, variance and gradients by layer, beside theory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefield.errors import require
from sparsefield.pictures.plotting import INK, Look, house_style, legend_below, looks, new_figure
from sparsefield.pictures.runs import Arms
from sparsefield.train import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
Series = Callable[[Run], tuple[Array, Array]]  # x and y of a seed
THEORY: dict[str, Any] = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2))}
_FEW = 3  # points of which a line would say more than they do
_WIDE = 10.0  # values that span more than this need a logarithmic axis


@house_style
def curves(arms: Arms) -> Figure:
    """Training loss and test accuracy by step."""
    figure = new_figure(10.0, 3.6)
    loss, accuracy = figure.subplots(1, 2)
    draw_arms(loss, arms, loss_by_step)
    draw_arms(accuracy, arms, accuracy_by_step, log=False)
    loss.set(xlabel="optimiser step", ylabel="training loss (nats)")
    accuracy.set(xlabel="optimiser step", ylabel="test accuracy (%)")
    legend_below(figure, list(arms))
    return figure


@house_style
def profiles(arms: Arms) -> Figure:
    """By layer: exact zeros after the last step; rms gradient before the first, beside theory."""
    figure = new_figure(10.0, 3.8)
    zeros, gradient = figure.subplots(1, 2)
    draw_arms(zeros, arms, lambda run: _by_layer(run.result.sparsity_per_layer, 100), log=False)
    for target in {arm["sparsity"] for arm in arms.values()}:
        zeros.axhline(100 * target, **THEORY)
    zeros.set(xlabel="layer $l$", ylabel="exact zeros after training (%)")
    means = draw_arms(gradient, arms, lambda run: _by_layer(at_start(run, "grad_rms")))
    for arm, mean in zip(arms.values(), means, strict=True):
        gradient.plot(*_by_layer(gradient_profile(arm.runs[0]), mean[-1:]), **THEORY)
    gradient.set(xlabel="layer $l$", ylabel="rms gradient at $h_l$ before training")
    legend_below(figure, list(arms))
    return figure


def draw_variance(axes: Axes, arms: Arms) -> None:
    """The variance of every layer before the first step, beside theory."""
    draw_arms(axes, arms, lambda run: _by_layer(at_start(run, "q")))
    for arm in arms.values():
        axes.plot(*_by_layer(at_start(arm.runs[0], "q_theory")), **THEORY)
    axes.set_xlabel("layer $l$")


def draw_arms(axes: Axes, arms: Arms, series: Series, *, log: bool = True) -> list[Array]:
    """Thin: each seed. Thick: their mean, which is returned.

    ``log``: means are geometric, and the axis is logarithmic where values span much.
    """
    seeds = [[series(run) for run in arm.runs] for arm in arms.values()]
    styles = zip(looks(len(arms)), seeds, strict=True)
    means = [_draw_seeds(axes, *pair, log=log) for pair in styles]
    if log and axes.dataLim.y1 > _WIDE * axes.dataLim.minposy:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(require("matplotlib.ticker", "report").MaxNLocator(integer=True))
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


def at_start(run: Run, column: str) -> Array:
    """A column of the layer measurements before the first step, by layer; empty if not made."""
    values: Array = run.layers[column][run.layers["step"] == 0]
    return values


def gradient_profile(run: Run) -> Array:
    """Theory's rms gradient by layer, as a multiple of that at the last layer; shape [depth].

    One layer back, squared gradients change by chi_1(q); a layer that halves the resolution has
    no skip and spreads its gradient over four times as many positions.
    """
    config, q = run.config, at_start(run, "q_theory")
    if not len(q):
        return q
    factors, plain = (
        config.variance_map(config.point(), skip=skip).chi1(q[:-1]) for skip in (None, 0.0)
    )
    strided = np.isin(np.arange(1, len(q)), config.strides)
    squared = np.cumprod(np.where(strided, plain / 4, factors)[::-1])[::-1]
    profile: Array = np.sqrt(np.append(squared, 1.0))
    return profile
