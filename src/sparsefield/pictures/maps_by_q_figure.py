"""V(q) and chi_1(q) of networks that differ in q* [DT26]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefield.pictures.plotting import INK, Look, label_ends, looks, new_figure, styled
from sparsefield.theory import CriticalPoint, solve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPARSITY, _STARS = 0.9, (0.5, 1.0, 2.0, 4.0)
_WIDE, _NEAR = 6.0, 2.0  # how far the axes go, in absolute units and in units of q*


def maps_by_q() -> Figure:
    """V(q) and chi_1(q) of several q* at m = 1, in absolute units and in units of q*."""
    return styled(_maps_by_q)


def _maps_by_q() -> Figure:
    figure = new_figure(5.5, 4.6)
    panels: NDArray[Any] = figure.subplots(2, 2)
    points = [solve("crelu", sparsity=_SPARSITY, q=q, m=1.0) for q in _STARS]
    arms = list(zip(points, looks(len(points)), strict=True))
    for point, look in arms:
        _draw(panels[:, 0], point, look, unit=1.0, reach=_WIDE)
        _draw(panels[:, 1], point, look, unit=point.q, reach=_NEAR)
    _finish(panels)
    figure.draw_without_rendering()  # fixes the axes, which the labels share
    for row, axes in enumerate(panels[:, 1]):
        label_ends(axes, [(_end(point, row), f"$q^*$ = {point.q:g}", look) for point, look in arms])
    return figure


def _draw(
    column: NDArray[Any], point: CriticalPoint, look: Look, *, unit: float, reach: float
) -> None:
    """V / unit above chi_1, over q / unit."""
    vmap, q = point.variance_map(), np.linspace(0.0, reach, 241)[1:]
    star = point.q / unit
    curves = (vmap(q * unit) / unit, star), (vmap.chi1(q * unit), 1.0)
    for axes, (values, fixed) in zip(column, curves, strict=True):
        axes.plot(q, values, color=look.colour, linewidth=1.5)
        axes.plot(star, fixed, "o", ms=5, color=look.colour, zorder=4)


def _end(point: CriticalPoint, row: int) -> float:
    """Where a curve of the right column leaves its panel."""
    vmap, q = point.variance_map(), _NEAR * point.q
    return float(vmap.chi1(q)) if row else float(vmap(q)) / point.q


def _finish(panels: NDArray[Any]) -> None:
    titles, names = ("in absolute units", "relative to $q^*$"), ("$V(q)$", "$V(q)\\, /\\, q^*$")
    for column, top, title, name in zip(panels.T, (_WIDE, _NEAR), titles, names, strict=True):
        above, below = column
        above.plot([0.0, top], [0.0, top], color=INK, linewidth=0.6)
        above.set_ylim(0.0, top)
        above.set_title(title)
        above.set_ylabel(name)
        below.axhline(1.0, color=INK, linewidth=0.6)
        below.set_ylabel("$\\chi_1(q)$")
        for axes in column:
            axes.set_xlim(0.0, top)
    panels[1, 0].set_xlabel("variance $q$")
    panels[1, 1].set_xlabel("$q\\, /\\, q^*$")
