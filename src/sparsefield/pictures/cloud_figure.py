"""The cloud of Q over depth: networks of finite width, under a safe and under an unsafe clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefield.pictures.plotting import INK, QUIET, Look, looks, new_figure, styled
from sparsefield.theory import solve
from sparsefield.theory.chain import simulate
from sparsefield.theory.finite_width import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
_SPARSITY, _WIDTH, _DEPTH, _NETWORKS, _PATHS = 0.9, 300, 100, 400, 12
_CLIPS = (1.0, 1.5)
_HIGH = 5.0


def cloud() -> Figure:
    """Q by layer of networks at 90 % zeros: quantiles, single networks, and the share that escapes.

    The exact chain of :mod:`sparsefield.theory.chain`, in units of q*.
    """
    return styled(_cloud)


def _cloud() -> Figure:
    figure = new_figure(5.5, 3.1)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, clip, look in zip(panels, _CLIPS, looks(2), strict=True):
        paths = _paths(clip)
        _draw(axes, paths, look)
        axes.set_title(f"clip {clip:g}: {_verdict(paths)}", color=look.text, fontweight="bold")
        axes.set_xlabel("layer")
    panels[0].set_ylabel("variance $Q$ of a layer, units of $q^*$")
    _explain(panels[0], panels[1])
    return figure


def _paths(clip: float) -> Array:
    """Shape [networks, depth]."""
    vmap = solve("crelu", sparsity=_SPARSITY, clip=clip).variance_map()
    return simulate(vmap, 1.0, width=_WIDTH, depth=_DEPTH, draws=_NETWORKS, seed=0)


def _verdict(paths: Array) -> str:
    share = float(escaped(paths, 1.0).mean())
    if share == 0.0:
        return f"none of {len(paths)}\nnetworks leaves the band"
    return f"{100 * share:.0f} % of {len(paths)}\nnetworks leave the band"


def _draw(axes: Axes, paths: Array, look: Look) -> None:
    layers = np.arange(1, paths.shape[1] + 1)
    axes.axhspan(0.5, 2.0, color="#eef2ee", zorder=0)
    for low, high, alpha in ((5, 95, 0.25), (25, 75, 0.35)):
        ends = np.percentile(paths, (low, high), axis=0)
        axes.fill_between(layers, *ends, color=look.colour, alpha=alpha, linewidth=0)
    axes.plot(layers, paths[:_PATHS].T, color=look.colour, linewidth=0.45, alpha=0.8)
    axes.plot(layers, np.median(paths, axis=0), color=look.text, linewidth=1.8)
    axes.axhline(1.0, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set_yscale("log")
    axes.set_ylim(0.4, _HIGH)
    axes.set_yticks([0.5, 1.0, 2.0, 4.0], ["1/2", "1", "2", "4"])
    axes.yaxis.minorticks_off()
    axes.set_xlim(1, paths.shape[1])
    axes.set_xticks([1, 25, 50, 75, 100])


def _explain(safe: Axes, unsafe: Axes) -> None:
    """Words at the things themselves."""
    safe.text(3, 1.94, r"the band from $q^*/2$ to $2q^*$", fontsize=8, color=QUIET, va="top")
    safe.annotate(
        "$q^*$",
        (1.0, 1.0),
        xycoords=safe.get_yaxis_transform(),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
    )
    for y, text in ((2.9, "thin: single networks"), (2.5, "dark: half of them, pale: 90 %")):
        safe.text(3, y, text, fontsize=8, color=INK)
    unsafe.text(3, 4.3, f"width {_WIDTH}, {100 * _SPARSITY:g} % zeros", fontsize=8, color=INK)
