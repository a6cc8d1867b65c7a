"""report(): one HTML file that shows what a folder of runs found, and needs nothing else."""

from __future__ import annotations

from pathlib import Path

from sparsefield.errors import InvalidInput, require
from sparsefield.pictures.overview import overview
from sparsefield.pictures.plotting import looks
from sparsefield.pictures.runs import Arms, read_arms, title
from sparsefield.pictures.saving import PICTURES, save_figure, svg_element
from sparsefield.pictures.training import curves, profiles
from sparsefield.studies.results import made_of, provenance
from sparsefield.sweep.statistics import DIFFERENCES, paired
from sparsefield.train.atomic import write_bytes

FILE = "report.html"
_FIGURES = (overview, curves, profiles)


def report(directory: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of one run, or of a folder of runs, as one self-contained HTML file.

    Runs that differ in nothing but the seed are one arm. An ``out`` that ends in svg, png or pdf
    becomes the report's first figure alone.

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
    if path.suffix in PICTURES:
        return save_figure(overview(read_arms(directory)), path)
    html = render(read_arms(directory))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, html.encode())
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be written ({error.strerror}); give a file you may write to as out"
        ) from None
    return path


def render(arms: Arms) -> str:
    """The report as HTML."""
    results = [run.result for arm in arms.values() for run in arm.runs]
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
        arms=list(zip(arms, arms.values(), (look.text for look in looks(len(arms))), strict=True)),
        beside=beside(arms),
        figures={
            draw.__name__: svg_element(
                draw(arms), name=draw.__name__, description=str(draw.__doc__)
            )
            for draw in _FIGURES
        },
        rows=config_rows(arms),
        made=provenance(made_of(results)),
        data=", ".join(dict.fromkeys(result.data_digest for result in results)),
    )
    return html


def beside(arms: Arms) -> list[str]:
    """Test accuracy of each arm less that of the first, over the seeds that both have."""
    one, *others = [arm.by_seed() for arm in arms.values()]
    found = (paired(one, other, within=DIFFERENCES) for other in others)
    return ["", *(each.show(100, signed=True) for each in found)]


def config_rows(arms: Arms) -> list[tuple[str, list[str], bool]]:
    """Every field of the configs: its name, its value in each arm, whether the arms differ."""
    tables = [
        {**arm.rows[0].config, "seed": ", ".join(str(row.seed) for row in arm.rows)}
        for arm in arms.values()
    ]
    told = {
        name: ["none" if table[name] is None else str(table[name]) for table in tables]
        for name in tables[0]
    }
    return [(name, values, len(set(values)) > 1) for name, values in told.items()]
