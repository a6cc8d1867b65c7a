"""The commands that draw: phase diagrams, and the figures of the theory."""

from __future__ import annotations

import json as jsonlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from sparsefield.errors import InvalidInput

from .answer import show

if TYPE_CHECKING:
    from sparsefield.theory.phase import Progress

AxisName = Literal["sparsity", "clip", "m", "q"]


def phase_map(
    family: Literal["crelu", "cst", "relu", "st"],
    x: AxisName = "sparsity",
    y: AxisName | None = None,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    sparsity: float | None = None,
    clip: float | None = None,
    m: float | None = None,
    q: float | None = None,
    chi1: float = 1.0,
    quantity: str = "stability,slope",
    width: int | None = None,
    depth: int | None = None,
    size: str = "240x180",
    escape_size: str = "40x30",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Draw the phase diagram of a family: stability, slopes, escape over two parameters.

    Parameters
    ----------
    family
        clipped ReLU, clipped soft threshold, shifted ReLU or soft threshold
    x
        parameter across
    y
        parameter upwards; by default clip, or q for a family without one
    x_range
        lowest and highest x
    y_range
        lowest and highest y
    sparsity
        share of exact zeros, where it is no axis
    clip
        clip height in units of sqrt(q*), where it is no axis
    m
        clip height in absolute units, in place of clip
    q
        variance q* of the pre-activations, where it is no axis; 1 unless given
    chi1
        factor on squared gradients per layer; 1 is the edge of chaos
    quantity
        what to draw, comma-separated: stability, slope, curvature, sigma_b2, escape, ...
    width
        with depth: of the network whose escape probability is asked for
    depth
        with width: number of hidden layers
    size
        points across x points upwards
    escape_size
        the same for escape, which takes about a tenth of a second a point
    out
        the picture, ending in svg, png or pdf; by default map-FAMILY-X-Y.svg, none with --json
    json
        print one JSON object and nothing else
    """
    from sparsefield.pictures.phase import phase_figure
    from sparsefield.pictures.saving import picture_path
    from sparsefield.theory.phase import Axis, phase_diagram

    y = y or ("clip" if family.startswith("c") else "q")
    picture = out or (None if json else Path(f"map-{family}-{x}-{y}.svg"))
    if picture:
        picture_path(picture)
    columns, rows = _size("size", size)
    with _progress(shown=not json and "escape" in quantity) as progress:
        diagram = phase_diagram(
            family,
            Axis.named(x, x_range, columns),
            Axis.named(y, y_range, rows),
            quantities=[name.strip() for name in quantity.split(",")],
            sparsity=sparsity,
            clip=clip,
            m=m,
            q=q,
            chi1=chi1,
            width=width,
            depth=depth,
            escape_size=_size("escape-size", escape_size),
            progress=progress,
        )
    draw = partial(phase_figure, diagram)
    show(diagram, picture, draw, label="picture           ", json=json)


def figure(
    name: Annotated[str, tyro.conf.Positional],
    out: Path = Path("docs/figures"),
    kind: Literal["svg", "png", "pdf"] = "svg",
    json: bool = False,
) -> None:
    """Draw a figure of the theory, or all of them.

    Parameters
    ----------
    name
        fixed-points, cloud, variance-maps, correlation-maps or all
    out
        folder of the pictures
    kind
        file format
    json
        print one JSON object and nothing else
    """
    from sparsefield.pictures.theory import draw_figures

    paths = [str(path) for path in draw_figures(name, out, kind=kind)]
    print(jsonlib.dumps({"figures": paths}) if json else "\n".join(paths))


def _size(flag: str, text: str) -> tuple[int, int]:
    """Columns and rows of a grid, from 240x180."""
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if not found:
        raise InvalidInput(f"--{flag} {text!r}: must read COLUMNSxROWS; try 240x180")
    return int(found[1]), int(found[2])


@contextmanager
def _progress(*, shown: bool) -> Iterator[Progress | None]:
    """A bar on the terminal for what takes minutes."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield None
        return
    with Bar(console=console, transient=True) as bar:
        task = bar.add_task("escape probability", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
