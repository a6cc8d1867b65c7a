"""The correlation map of two inputs, and how fast they become one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsefield.pictures.plotting import INK, QUIET, Look, label_ends, looks, new_figure, styled
from sparsefield.theory import solve
from sparsefield.theory.maps import CorrelationMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DEPTH = 300
_LAW = 20  # from this layer on the power law is drawn
_ARMS = ((0.6, 0.0), (0.9, 0.0), (0.97, 0.0), (0.9, 0.9))  # sparsity, skip


def correlation_maps() -> Figure:
    """R(rho) of CReLU at clip 1, and 1 - rho by depth beside the power law at the edge."""
    return styled(_correlation_maps)


def _correlation_maps() -> Figure:
    figure = new_figure(5.5, 2.9)
    maps, decay = figure.subplots(1, 2)
    arms = list(zip((_correlation(s, skip) for s, skip in _ARMS), looks(len(_ARMS)), strict=True))
    _draw_maps(maps, arms)
    ends = [_draw_decay(decay, correlation, look) for correlation, look in arms]
    decay.set_xlabel("layer $l$")
    decay.set_title("two unrelated inputs: $1 - \\rho_l$\n(dashed: $(2/\\kappa l)^2$)")
    figure.draw_without_rendering()  # fixes the axes, which the labels share
    labels = [f"$s$ = {s:g}" + (f",\nskip {skip:g}" if skip else "") for s, skip in _ARMS]
    named = zip(ends, labels, arms, strict=True)
    label_ends(decay, [(end, label, look) for end, label, (_, look) in named])
    return figure


def _correlation(sparsity: float, skip: float) -> CorrelationMap:
    return solve("crelu", sparsity=sparsity, clip=1.0).variance_map(skip).correlation(1.0)


def _draw_maps(axes: Axes, arms: list[tuple[CorrelationMap, Look]]) -> None:
    rho = np.linspace(0.0, 1.0, 121)
    axes.plot([0.0, 1.0], [0.0, 1.0], color=QUIET, linewidth=0.8)
    for correlation, look in arms:
        axes.plot(rho, correlation(rho), color=look.colour, linewidth=1.6)
    axes.plot(1.0, 1.0, "o", ms=5, color=INK, zorder=4, clip_on=False)
    axes.text(0.95, 0.05, "slope 1 at $\\rho = 1$:\nthe edge of chaos", fontsize=8, ha="right")
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel("correlation $\\rho$ of two inputs")
    axes.set_title("$R(\\rho)$, one layer later")


def _draw_decay(axes: Axes, correlation: CorrelationMap, look: Look) -> float:
    """1 - rho by layer; returns its last value."""
    layers = np.arange(1, _DEPTH + 1)
    delta = correlation.iterate_deficit(1.0, _DEPTH)
    law = correlation.power_law(layers)
    shown = (layers >= _LAW) & (law < 1.0)
    axes.loglog(layers, delta, color=look.colour, linewidth=1.6)
    axes.loglog(layers[shown], law[shown], color=look.text, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set_xlim(1, _DEPTH)
    return float(delta[-1])
