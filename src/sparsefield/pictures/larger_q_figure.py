"""What a larger q* does [DT26]: in absolute units and relative to q*, at a fixed m and clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefield.pictures.plotting import INK, looks, new_figure, styled
from sparsefield.theory import CriticalPoint, solve
from sparsefield.theory.closed_form import edge_grid
from sparsefield.theory.finite_width import linear_std

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
_SPARSITY, _WIDTH = 0.9, 300
_STARS = np.geomspace(0.25, 16.0, 49)
_STEP = 0.5  # the asymmetry is that over [q*/2, 3 q*/2]
_HELD = ("clip held at 1", "$m$ held at 1")

Quantity = Callable[[CriticalPoint], float]


def larger_q() -> Figure:
    """V'', asymmetry, sensitivity of chi_1 and spread at finite width, against q* [DT26]."""
    return styled(_larger_q)


def curvature(point: CriticalPoint) -> float:
    """V''(q*)."""
    return point.curvature


def asymmetry(point: CriticalPoint) -> float:
    """V(3q*/2) + V(q*/2) - 2 q*: zero for a map that is symmetric about q*."""
    vmap, q = point.variance_map(), point.q
    above, below = vmap(q * (1.0 + _STEP)), vmap(q * (1.0 - _STEP))
    return float(above + below - 2.0 * q)


def sensitivity(point: CriticalPoint) -> float:
    """d chi_1 / dq at q*."""
    edge = edge_grid(point.family, point.sparsity, point.clip, q=point.q)
    return float(edge.chi1_slope)


def spread(point: CriticalPoint) -> float:
    """Standard deviation of Q at width 300, from the chain linearised at q*."""
    return linear_std(point.variance_map(), point.q, _WIDTH)


# quantity, its power of q in the scale identity, and how it is written in both units
_ROWS: tuple[tuple[Quantity, int, str, str], ...] = (
    (curvature, -1, "$V''(q^*)$", "$q^*\\, V''$"),
    (asymmetry, 1, "asymmetry", "asymmetry $/\\, q^*$"),
    (sensitivity, -1, "$d\\chi_1/dq$", "$q^*\\, d\\chi_1/dq$"),
    (spread, 1, "std of $Q$, width 300", "std of $Q\\, /\\, q^*$"),
)


def _larger_q() -> Figure:
    figure = new_figure(5.5, 7.0)
    panels = figure.subplots(len(_ROWS), 2, sharex=True)
    arms = [_points(held) for held in ("clip", "m")]
    for (quantity, power, *names), (absolute, relative) in zip(_ROWS, panels, strict=True):
        for arm, look in zip(arms, looks(2), strict=True):
            values = np.array([quantity(point) for point in arm])
            absolute.plot(_STARS, values, color=look.colour, linewidth=1.6)
            relative.plot(_STARS, values / _STARS**power, color=look.colour, linewidth=1.6)
        for axes, name in zip((absolute, relative), names, strict=True):
            axes.set_ylabel(name)
    _finish(panels)
    figure.align_ylabels()
    return figure


def _points(held: str) -> list[CriticalPoint]:
    heights: dict[str, Any] = {held: 1.0}
    return [solve("crelu", sparsity=_SPARSITY, q=q, **heights) for q in _STARS]


def _finish(panels: NDArray[Any]) -> None:
    for axes in panels.flat:
        axes.set_xscale("log")
        axes.set_xlim(_STARS[0], _STARS[-1])
        axes.set_xticks([0.25, 1, 4, 16], ["1/4", "1", "4", "16"])
        axes.xaxis.minorticks_off()
        axes.axhline(0.0, color=INK, linewidth=0.6)
    for axes, title in zip(panels[0], ("in absolute units", "relative to $q^*$"), strict=True):
        axes.set_title(title)
    for axes in panels[-1]:
        axes.set_xlabel("variance $q^*$")
    for (x, y), text, look in zip(((3.0, 0.22), (0.4, 0.8)), _HELD, looks(2), strict=True):
        panels[0, 1].text(x, y, text, color=look.text, fontsize=8)
