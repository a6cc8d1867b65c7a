"""The figures of the theory by name: one command draws each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefield.errors import InvalidInput
from sparsefield.pictures.plotting import (
    INK,
    QUIET,
    Look,
    house_style,
    legend_below,
    looks,
    new_figure,
)
from sparsefield.pictures.saving import picture_path, save_figure
from sparsefield.theory import CriticalPoint, solve
from sparsefield.theory.chain import simulate
from sparsefield.theory.finite_width import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPARSITY, _WIDTH = 0.9, 300
_DIAGONAL: dict[str, Any] = {"color": QUIET, "linewidth": 0.8}
_DASHED: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (4, 2))}


def _draw(axes: Axes, x: Any, curves: Sequence[Any]) -> None:
    """A line for each curve, each in its look."""
    for row, look in zip(curves, looks(len(curves)), strict=True):
        axes.plot(x, row, color=look.colour, linewidth=1.5)


@house_style
def variance_maps() -> Figure:
    """V(q) of the four families at several sparsities, unclipped beside clipped [P24]."""
    figure = new_figure(5.5, 5.0)
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    families = {
        "relu": "shifted ReLU, no clip",
        "crelu": "CReLU, clip 1",
        "st": "soft threshold, no clip",
        "cst": "CST, clip 1",
    }
    sparsities, q = (0.6, 0.8, 0.9, 0.95), np.linspace(0.0, 2.0, 161)[1:]
    for axes, (family, title) in zip(panels.flat, families.items(), strict=True):
        clip = 1.0 if family.startswith("c") else None
        axes.plot([0.0, 2.0], [0.0, 2.0], **_DIAGONAL)
        points = [solve(family, sparsity=s, clip=clip) for s in sparsities]
        _draw(axes, q, [point.variance_map()(q) for point in points])
        axes.plot(1.0, 1.0, "o", ms=6, color=INK, zorder=5)
        axes.annotate("$q^*$", (1.0, 1.0), xytext=(5, -4), textcoords="offset points", va="top")
        axes.set(title=title, xlim=(0.0, 2.0), ylim=(0.0, 3.0))
    for axes in panels[1]:
        axes.set_xlabel("variance $q$ of a layer")
    figure.supylabel("$V(q)$, one layer later", fontsize=9)
    legend_below(figure, [f"$s$ = {s:g}" for s in sparsities], columns=4)
    return figure


@house_style
def fixed_points() -> Figure:
    """The variance map of CReLU at 90 % zeros, its fixed points and an orbit, as the clip grows."""
    figure = new_figure(5.5, 2.35)
    panels = figure.subplots(1, 3, sharey=True)
    clips = {1.0: "comes back", 1.5: "barely comes back", 2.0: "runs to a rival"}
    for axes, (clip, words), look in zip(panels, clips.items(), looks(3), strict=True):
        _draw_orbit(axes, solve("crelu", sparsity=_SPARSITY, clip=clip), look)
        axes.set_title(f"clip {clip:g}:\n{words}", color=look.text, fontweight="bold")
        axes.set_xlabel("variance $q$")
    panels[0].set_ylabel("$V(q)$, one layer later")
    panels[0].text(4.6, 6.2, "$V(q) = q$", color=QUIET, fontsize=8, ha="right")
    key = (("D", INK, "start"), ("o", QUIET, "attracts"), ("o", "white", "repels"))
    for row, (marker, face, text) in enumerate(key):
        at: dict[str, Any] = {"transform": panels[1].transAxes}
        panels[1].plot(0.07, 0.93 - 0.1 * row, marker, ms=5, color=face, mec=INK, **at)
        panels[1].text(0.13, 0.93 - 0.1 * row, text, fontsize=8, va="center", **at)
    return figure


def _draw_orbit(axes: Axes, point: CriticalPoint, look: Look, layers: int = 60) -> None:
    """The map, its fixed points, and a disturbed variance: up to the map, across to q."""
    vmap, q = point.variance_map(), np.geomspace(0.55, 13.0, 300)
    axes.loglog(q, q, **_DIAGONAL)
    axes.loglog(q, vmap(q), color=look.colour, linewidth=1.8)
    orbit = [3.0]
    for _ in range(layers):
        orbit.append(float(vmap(orbit[-1])))
    steps = np.repeat(orbit, 2)
    axes.plot(steps[:-1], np.append(orbit[0], steps[2:]), color=INK, linewidth=0.7)
    axes.plot(orbit[0], orbit[0], "D", ms=3.5, color=INK)
    away, text = orbit[-1] > orbit[0], f"after {layers} layers:\n$q$ = {orbit[-1]:.2g}"
    place: dict[str, Any] = {"ha": "left", "va": "top"} if away else {"ha": "right", "va": "bottom"}
    x, y = (0.05, 0.95) if away else (0.97, 0.05)
    axes.text(x, y, text, transform=axes.transAxes, fontsize=8, **place)
    for fixed in point.fixed_points:
        face = look.colour if fixed.stable else "white"
        axes.plot(fixed.q, fixed.q, "o", ms=6, color=face, mec=INK, zorder=5 + fixed.stable)
    axes.set(xlim=(q[0], q[-1]), ylim=(q[0], q[-1]), box_aspect=1.0)
    axes.minorticks_off()
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks([1, 2, 5, 10], ["1", "2", "5", "10"])


@house_style
def cloud() -> Figure:
    """Q by layer of networks at 90 % zeros: quantiles, single networks, and the share that escapes.

    The exact chain of :mod:`sparsefield.theory.chain`, in units of q*.
    """
    figure = new_figure(5.5, 3.1)
    safe, unsafe = figure.subplots(1, 2, sharey=True)
    for axes, clip, look in zip((safe, unsafe), (1.0, 1.5), looks(2), strict=True):
        vmap = solve("crelu", sparsity=_SPARSITY, clip=clip).variance_map()
        paths = simulate(vmap, 1.0, width=_WIDTH, depth=100, draws=400, seed=0)
        _draw_cloud(axes, paths, look)
        share = 100 * float(escaped(paths, 1.0).mean())
        title = f"clip {clip:g}: {share:.0f} % of {len(paths)}\nnetworks leave the band"
        axes.set_title(title, color=look.text, fontweight="bold")
        axes.set_xlabel("layer")
    safe.set_ylabel("variance $Q$ of a layer, units of $q^*$")
    safe.text(3, 1.94, r"the band from $q^*/2$ to $2q^*$", fontsize=8, color=QUIET, va="top")
    safe.text(101, 1.0, "$q^*$", va="center")
    safe.text(3, 2.5, "thin: single networks\ndark: half of them, pale: 90 %", fontsize=8)
    unsafe.text(3, 4.3, f"width {_WIDTH}, {100 * _SPARSITY:g} % zeros", fontsize=8)
    return figure


def _draw_cloud(axes: Axes, paths: Any, look: Look) -> None:
    """``paths`` of shape [networks, depth]."""
    layers = np.arange(1, paths.shape[1] + 1)
    axes.axhspan(0.5, 2.0, color="#eef2ee", zorder=0)
    for low, high, alpha in ((5, 95, 0.25), (25, 75, 0.35)):
        ends = np.percentile(paths, (low, high), axis=0)
        axes.fill_between(layers, *ends, color=look.colour, alpha=alpha, linewidth=0)
    axes.plot(layers, paths[:12].T, color=look.colour, linewidth=0.45, alpha=0.8)
    axes.plot(layers, np.median(paths, axis=0), color=look.text, linewidth=1.8)
    axes.axhline(1.0, color=INK, **_DASHED)
    axes.set(yscale="log", ylim=(0.4, 5.0), xlim=(1, layers[-1]), xticks=[1, 25, 50, 75, 100])
    axes.set_yticks([0.5, 1.0, 2.0, 4.0], ["1/2", "1", "2", "4"])
    axes.yaxis.minorticks_off()


@house_style
def correlation_maps() -> Figure:
    """R(rho) of CReLU at clip 1, and 1 - rho by depth beside the power law at the edge."""
    figure = new_figure(5.5, 2.9)
    maps, decay = figure.subplots(1, 2)
    arms = {"$s$ = 0.6": (0.6, 0.0), "$s$ = 0.9": (0.9, 0.0), "$s$ = 0.97": (0.97, 0.0)}
    arms["$s$ = 0.9, skip 0.9"] = (0.9, 0.9)
    rho, layers = np.linspace(0.0, 1.0, 121), np.arange(1, 301)
    solved = [
        solve("crelu", sparsity=s, clip=1.0).variance_map(skip).correlation(1.0)
        for s, skip in arms.values()
    ]
    maps.plot([0.0, 1.0], [0.0, 1.0], **_DIAGONAL)
    _draw(maps, rho, [correlation(rho) for correlation in solved])
    deficits = [correlation.iterate_deficit(1.0, len(layers)) for correlation in solved]
    _draw(decay, layers, deficits)
    for correlation, look in zip(solved, looks(len(solved)), strict=True):
        law = correlation.power_law(layers)
        shown = (layers >= 20) & (law < 1.0)
        decay.plot(layers[shown], law[shown], color=look.text, **_DASHED)
    maps.plot(1.0, 1.0, "o", ms=5, color=INK, zorder=4, clip_on=False)
    maps.text(0.95, 0.05, "slope 1 at $\\rho = 1$:\nthe edge of chaos", fontsize=8, ha="right")
    maps.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0), xlabel="correlation $\\rho$ of two inputs")
    maps.set_title("$R(\\rho)$, one layer later")
    decay.set(xscale="log", yscale="log", xlim=(1, layers[-1]), xlabel="layer $l$")
    decay.set_ylabel("$1 - \\rho_l$")
    decay.set_title("two unrelated inputs\n(dashed: $(2/\\kappa l)^2$)")
    legend_below(figure, list(arms), columns=4)
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "fixed-points": fixed_points,
    "cloud": cloud,
    "variance-maps": variance_maps,
    "correlation-maps": correlation_maps,
}


def draw_figures(
    name: str, directory: Path = Path("docs/figures"), *, kind: str = "svg"
) -> Sequence[Path]:
    """Draw the figure called ``name``, or ``all`` of them, as NAME.KIND in ``directory``.

    Parameters
    ----------
    name
        a key of ``FIGURES``, or ``all``.
    directory
        Where the files go.
    kind
        svg, png or pdf.

    Raises
    ------
    InvalidInput
        another name or kind, or a folder that cannot be written.
    """
    if name != "all" and name not in FIGURES:
        raise InvalidInput(f"figure {name!r} is unknown; choose one of all, {', '.join(FIGURES)}")
    names = list(FIGURES) if name == "all" else [name]
    paths = [picture_path(directory / f"{each}.{kind}") for each in names]
    return [save_figure(FIGURES[each](), path) for each, path in zip(names, paths, strict=True)]
