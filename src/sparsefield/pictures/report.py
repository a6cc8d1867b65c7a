"""report(): one HTML file that shows what a folder of runs found, and needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsefield.errors import InvalidInput, require
from sparsefield.pictures import figures
from sparsefield.pictures.arms import Arm, read_arms
from sparsefield.pictures.findings import effects, headline, initial_state
from sparsefield.pictures.plotting import looks, to_svg
from sparsefield.train import TrainConfig
from sparsefield.train.atomic import write_bytes

FILE = "report.html"
_NETWORKS = {"dnn": "fully connected network", "cnn": "convolutional network"}
_FIGURES = (
    (
        figures.variance_maps,
        "The variance map V of each arm at initialisation. A dot is one layer of one seed: its "
        "measured q across, that of the next layer up. Where V crosses the diagonal is a fixed "
        "point; where it crosses flatter than the diagonal, the variance returns to it.",
    ),
    (
        figures.curves,
        "Training loss and test accuracy. Thick: mean over seeds. Thin: each seed.",
    ),
    (
        figures.sparsity,
        "Share of exact zeros after each activation, on the test set. Lines: mean over seeds. "
        "Dots: each seed. Dashed: theory at initialisation.",
    ),
    (
        figures.depth_profiles,
        "Before the first step: variance of the pre-activations and rms gradient of the loss "
        "with respect to them. Thick: geometric mean over seeds. Thin: each seed. Dashed: theory; "
        "for the gradient it starts from the measured value at the last layer.",
    ),
)


@dataclass(frozen=True)
class Figure:
    """A numbered figure as HTML takes it."""

    number: int
    svg: str
    caption: str


def report(directory: str | Path, *, out: str | Path | None = None) -> Path:
    """Write the report of one run, or of a folder of runs, as one self-contained HTML file.

    Runs that differ in nothing but the seed are one arm. Every sentence and number is computed
    from the run directories.

    Parameters
    ----------
    directory
        A run directory, or a folder with runs up to two folders below it.
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
    opening, sentences = effects(arms)
    html: str = environment.get_template("report.html").render(
        title=_title(arms[0].config),
        headline=headline(arms),
        opening=opening,
        effects=sentences,
        arms=[(arm, look.text) for arm, look in zip(arms, looks(len(arms)), strict=True)],
        figures=[_figure(number, arms) for number in range(1, len(_FIGURES) + 1)],
        initial_state=initial_state,
        symbols=symbols,
        rows=config_rows(arms),
        made=provenance(arms),
    )
    return html


def symbols(arm: Arm) -> list[tuple[str, str, str]]:
    """The solved point of an arm: symbol as HTML, meaning, value."""
    point = arm.config.point()
    rows = (
        ("τ", "threshold", point.tau),
        ("m", "clip height", point.m),
        ("m / √q*", "clip height in units of √q*", point.clip),
        ("σ<sub>w</sub>²", "variance of the weights times fan-in", point.sigma_w2),
        ("σ<sub>b</sub>²", "variance of the biases", point.sigma_b2),
        ("V′(q*)", "slope of the variance map", point.slope),
        ("V″(q*)", "its curvature", point.curvature),
        ("χ₁", "factor on squared gradients per layer", point.chi1),
    )
    return [(*row[:2], "none" if row[2] is None else f"{row[2]:.4g}") for row in rows]


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
    results = [run.result for arm in arms for run in arm.runs]
    named: dict[str, list[Any]] = {}
    for result in results:
        for name, value in {**result.versions, **result.hardware}.items():
            named.setdefault(name, []).append("none" if value is None else value)
        named.setdefault("data_digest", []).append(result.data_digest)
    return [(name, ", ".join(_distinct(values))) for name, values in named.items()]


def _title(config: TrainConfig) -> str:
    return (
        f"{Path(config.data).name}: {_NETWORKS[config.network]}, depth {config.depth}, "
        f"width {config.width}"
    )


def _figure(number: int, arms: Sequence[Arm]) -> Figure:
    draw, caption = _FIGURES[number - 1]
    svg = to_svg(draw(arms), name=f"figure-{number}", description=f"Figure {number}. {caption}")
    return Figure(number, svg, caption)


def _distinct(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values))
