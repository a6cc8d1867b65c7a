"""The variance map as a picture: four families, and its fixed points under a growing clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefield.pictures.plotting import (
    INK,
    QUIET,
    Look,
    label_ends,
    looks,
    new_figure,
    styled,
)
from sparsefield.theory import CriticalPoint, FixedPoint, VarianceMap, solve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPARSITIES = (0.6, 0.8, 0.9, 0.95)
_PANELS = (
    ("relu", "shifted ReLU, no clip"),
    ("crelu", "CReLU, clip 1"),
    ("st", "soft threshold, no clip"),
    ("cst", "CST, clip 1"),
)
_RIGHT, _TOP = 2.0, 3.0
_CLIPS = (1.0, 1.5, 2.0)
_WORDS = ("comes back", "barely comes back", "runs to a rival")
_LAYERS = 60
_START = 3.0  # where the disturbed variance begins, in units of q*
_LOW, _HIGH = 0.55, 13.0
_DIAGONAL: dict[str, Any] = {"color": QUIET, "linewidth": 0.8}


def variance_maps() -> Figure:
    """V(q) of the four families at several sparsities, unclipped beside clipped [P24]."""
    return styled(_variance_maps)


def fixed_points() -> Figure:
    """The variance map of CReLU at 90 % zeros, its fixed points and an orbit, as the clip grows."""
    return styled(_fixed_points)


def _variance_maps() -> Figure:
    figure = new_figure(5.5, 5.0)
    panels = list(figure.subplots(2, 2, sharex=True, sharey=True).flat)
    for axes, (family, title) in zip(panels, _PANELS, strict=True):
        _draw_family(axes, family)
        axes.set_title(title)
    for axes in panels[2:]:
        axes.set_xlabel("variance $q$ of a layer")
    for axes in panels[::2]:
        axes.set_ylabel("$V(q)$, one layer later")
    figure.draw_without_rendering()  # fixes the axes, which the labels share
    for axes, (family, _) in zip(panels, _PANELS, strict=True):
        heights = [min(float(_map(family, s)(_RIGHT)), _TOP - 0.05) for s, _ in _lines()]
        named = zip(heights, _lines(), strict=True)
        label_ends(axes, [(y, f"$s$ = {s:g}", look) for y, (s, look) in named])
    return figure


def _draw_family(axes: Axes, family: str) -> None:
    q = np.linspace(0.0, _RIGHT, 161)[1:]
    axes.plot([0.0, _RIGHT], [0.0, _RIGHT], **_DIAGONAL)
    for s, look in _lines():
        axes.plot(q, _map(family, s)(q), color=look.colour, linewidth=1.5)
    axes.plot(1.0, 1.0, "o", ms=6, color=INK, zorder=5)
    axes.annotate("$q^*$", (1.0, 1.0), xytext=(5, -4), textcoords="offset points", va="top")
    axes.set_xlim(0.0, _RIGHT)
    axes.set_ylim(0.0, _TOP)


def _map(family: str, sparsity: float) -> VarianceMap:
    clip = 1.0 if family.startswith("c") else None
    return solve(family, sparsity=sparsity, clip=clip).variance_map()


def _lines() -> list[tuple[float, Look]]:
    return list(zip(_SPARSITIES, looks(len(_SPARSITIES)), strict=True))


def _fixed_points() -> Figure:
    figure = new_figure(5.5, 2.35)
    panels = figure.subplots(1, 3, sharey=True)
    for axes, clip, words, look in zip(panels, _CLIPS, _WORDS, looks(3), strict=True):
        point = solve("crelu", sparsity=0.9, clip=clip)
        _draw_map(axes, point, look)
        axes.set_title(f"clip {clip:g}:\n{words}", color=look.text, fontweight="bold")
        axes.set_xlabel("variance $q$")
    panels[0].set_ylabel("$V(q)$, one layer later")
    panels[0].text(4.6, 6.2, "$V(q) = q$", color=QUIET, fontsize=8, ha="right")
    _key(panels[1])
    _inset(panels[2], solve("crelu", sparsity=0.9, clip=_CLIPS[-1]), looks(3)[-1])
    return figure


def _draw_map(axes: Axes, point: CriticalPoint, look: Look) -> None:
    vmap = point.variance_map()
    q = np.geomspace(_LOW, _HIGH, 300)
    axes.plot([_LOW, _HIGH], [_LOW, _HIGH], **_DIAGONAL)
    axes.plot(q, vmap(q), color=look.colour, linewidth=1.8)
    _cobweb(axes, vmap)
    for fixed in point.fixed_points:
        _dot(axes, fixed, fixed.q, look)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(_at((1, 2, 5, 10)))
        axis.set_minor_locator(_at(()))
        axis.set_major_formatter("{x:g}")
    axes.set_xlim(_LOW, _HIGH)
    axes.set_ylim(_LOW, _HIGH)
    axes.set_box_aspect(1.0)


def _cobweb(axes: Axes, vmap: VarianceMap) -> None:
    """The orbit of a disturbed variance: up to the map, across to the diagonal."""
    orbit = [_START]
    for _ in range(_LAYERS):
        orbit.append(float(vmap(orbit[-1])))
    steps = np.repeat(orbit, 2)
    axes.plot(steps[:-1], np.append(orbit[0], steps[2:]), color=INK, linewidth=0.7)
    axes.plot(orbit[0], orbit[0], "D", ms=3.5, color=INK)
    away = orbit[-1] > orbit[0]
    axes.text(
        *((0.05, 0.95) if away else (0.97, 0.05)),
        f"after {_LAYERS} layers:\n$q$ = {orbit[-1]:.2g}",
        transform=axes.transAxes,
        fontsize=8,
        ha="left" if away else "right",
        va="top" if away else "bottom",
    )


def _dot(axes: Axes, fixed: FixedPoint, height: float, look: Look) -> None:
    """Filled where it attracts, open where it repels."""
    face = look.colour if fixed.stable else "white"
    axes.plot(fixed.q, height, "o", ms=6, color=face, markeredgecolor=INK, zorder=5 - fixed.stable)


def _inset(axes: Axes, point: CriticalPoint, look: Look) -> None:
    """V(q) - q beside q*, where the map and the diagonal cannot be told apart."""
    inset = axes.inset_axes((0.56, 0.15, 0.42, 0.26))
    q = np.linspace(0.94, 1.14, 80)
    inset.axhline(0.0, **_DIAGONAL)
    inset.plot(q, point.variance_map()(q) - q, color=look.colour, linewidth=1.5)
    for fixed in point.fixed_points[:2]:
        _dot(inset, fixed, 0.0, look)
    inset.set_xlim(0.94, 1.14)
    inset.set_xticks([1.0, 1.08], ["1", "1.08"])
    inset.set_yticks([])
    inset.grid(visible=False)
    inset.set_title("$V(q) - q$", fontsize=8, pad=1, loc="center")


def _key(axes: Axes) -> None:
    """What the marks mean, beside such marks."""
    rows = (("D", INK, 3.5, "start"), ("o", QUIET, 6, "attracts"), ("o", "white", 6, "repels"))
    for row, (marker, face, size, text) in enumerate(rows):
        y = 0.93 - 0.1 * row
        axes.plot(0.07, y, marker, ms=size, color=face, mec=INK, transform=axes.transAxes)
        axes.text(0.13, y, text, transform=axes.transAxes, fontsize=8, va="center", color=INK)


def _at(ticks: tuple[int, ...]) -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator(ticks)
