"""The figures of the theory by name: one command draws each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparsefield.errors import InvalidInput
from sparsefield.pictures.cloud_figure import cloud
from sparsefield.pictures.correlation_figure import correlation_maps
from sparsefield.pictures.larger_q_figure import larger_q
from sparsefield.pictures.maps_by_q_figure import maps_by_q
from sparsefield.pictures.phase_figure import phase_figure
from sparsefield.pictures.saving import picture_path, save_figure
from sparsefield.pictures.variance_figures import fixed_points, variance_maps
from sparsefield.theory.phase import Axis, phase_diagram

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def slope_map() -> Figure:
    """V'(q*) and V''(q*) of CReLU over sparsity and clip height m, at q* = 1 [P24]."""
    x, y = Axis.named("sparsity", size=120), Axis.named("m", size=90)
    return phase_figure(phase_diagram("crelu", x, y, q=1.0, quantities=("slope", "curvature")))


FIGURES: dict[str, Callable[[], Figure]] = {
    "fixed-points": fixed_points,
    "cloud": cloud,
    "variance-maps": variance_maps,
    "slope-map": slope_map,
    "larger-q": larger_q,
    "maps-by-q": maps_by_q,
    "correlation-maps": correlation_maps,
}


def draw_figures(
    name: str, directory: Path = Path("docs/figures"), *, kind: str = "svg"
) -> Sequence[Path]:
    """Draw the figure called ``name``, or ``all`` of them, into ``directory``.

    Parameters
    ----------
    name
        a key of ``FIGURES``, or ``all``.
    directory
        Where the files go, as NAME.KIND.
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
