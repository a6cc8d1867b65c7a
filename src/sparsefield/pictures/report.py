"""report(): one HTML file that shows what a folder of runs found, and needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsefield.errors import InvalidInput, require
from sparsefield.pictures import training
from sparsefield.pictures.arms import Arm, percent, read_arms, title
from sparsefield.pictures.plotting import looks
from sparsefield.pictures.prediction import at_start
from sparsefield.pictures.saving import svg_element
from sparsefield.train.atomic import write_bytes

FILE = "report.html"
_FIGURES = (
    training.variance_maps,
    training.curves,
    training.zeros,
    training.depth_profiles,
)


def report(directory: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of one run, or of a folder of runs, as one self-contained HTML file.

    Runs that differ in nothing but the seed are one arm.

    Parameters
    ----------
    directory
        A run directory, or a folder with runs up to two folders below it: a sweep, the demo.
    out
        The file to write, by default ``report.html`` in ``directory``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InvalidInput
        No such directory, no run in it, an unfinished run, a damaged file, or an ``out`` that
        cannot be written.
    MissingExtra
        Matplotlib or jinja2 is not installed.
    """
    path = Path(directory) / FILE if out is None else Path(out)
    html = render(read_arms(directory))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, html.encode())
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be written ({error.strerror}); give a file you may write to as out"
        ) from None
    return path


def render(arms: Sequence[Arm]) -> str:
    """The report as HTML."""
    jinja2 = require("jinja2", "report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sparsefield.pictures"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html: str = environment.get_template("report.html").render(
        title=title(arms),
        arms=[(arm, look.text) for arm, look in zip(arms, looks(len(arms)), strict=True)],
        figures=_figures(arms),
        percent=percent,
        rows=config_rows(arms),
        made=provenance(arms),
    )
    return html


def config_rows(arms: Sequence[Arm]) -> list[tuple[str, list[str], bool]]:
    """Every field of the configs: its name, its value in each arm, whether the arms differ."""
    tables = [arm.config.model_dump(mode="json") for arm in arms]
    for arm, table in zip(arms, tables, strict=True):
        table["seed"] = ", ".join(str(run.config.seed) for run in arm.runs)
    rows = []
    for name in tables[0]:
        values = ["none" if table[name] is None else str(table[name]) for table in tables]
        rows.append((name, values, len(set(values)) > 1))
    return rows


def provenance(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Versions, hardware and data of all runs; several values where the runs differ."""
    named: dict[str, dict[str, None]] = {}  # the values in the order in which they are met
    for result in (run.result for arm in arms for run in arm.runs):
        made: dict[str, Any] = {**result.versions, **result.hardware}
        for name, value in {**made, "data_digest": result.data_digest}.items():
            named.setdefault(name, {})["none" if value is None else str(value)] = None
    return [(name, ", ".join(values)) for name, values in named.items()]


def _figures(arms: Sequence[Arm]) -> dict[str, str]:
    """The SVG of each figure that has something to show, by name."""
    measured = any(len(at_start(run, "q")) for arm in arms for run in arm.runs)
    drawn = _FIGURES if measured else _FIGURES[:-1]
    return {
        draw.__name__: svg_element(draw(arms), name=draw.__name__, description=str(draw.__doc__))
        for draw in drawn
    }
