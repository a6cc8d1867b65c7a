"""From the directories of a study's sweeps to its record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from sparsefield.data import Dataset, load, shared_name
from sparsefield.errors import InvalidInput
from sparsefield.studies.measures import measures, nothing
from sparsefield.studies.record import Made, Record, Row, differing
from sparsefield.studies.study import Scale, Study
from sparsefield.sweep import Plan, read_plan
from sparsefield.sweep.failure import read_failure
from sparsefield.sweep.folder import place
from sparsefield.sweep.plan import Planned
from sparsefield.train import Result, TrainConfig
from sparsefield.train.record import RESULT, read_result

T = TypeVar("T")


def made_record(
    study: Study,
    scale: Scale,
    parts: Mapping[str, Mapping[str, Any]],
    directory: Path,
    *,
    progress: bool = False,
) -> Record:
    """The record of sweeps that have ended, each in ``directory`` / its part.

    With ``progress`` it is shown on stderr how many of the runs are measured.

    Raises
    ------
    InvalidInput
        A damaged run, or runs of a part on different data.
    """
    plans = {part: read_plan(content) for part, content in parts.items()}
    results = {part: _results(directory / part, plan) for part, plan in plans.items()}
    return Record(
        study=study.name,
        scale=scale,
        title=study.title,
        question=study.question,
        source=study.source,
        tuned=study.tuned,
        digests={part: _digest(directory / part, found) for part, found in results.items()},
        fields={
            part: differing([_config(run.config) for run in plans[part].runs]) for part in plans
        },
        rows=_rows(plans, directory, progress=progress),
        made=_made([result for found in results.values() for result in found]),
    )


def _rows(plans: Mapping[str, Plan], directory: Path, *, progress: bool) -> tuple[Row, ...]:
    loaded = cache(lambda data, normalise: load(data, normalise=normalise))
    runs = [(part, run) for part, plan in plans.items() for run in plan.runs]
    return tuple(
        _row(directory / part, part, run, loaded(run.config.data, run.config.normalise))
        for part, run in _shown(runs, progress)
    )


def _shown(runs: Sequence[T], wanted: bool) -> Iterable[T]:
    """The runs, one after the other, with a bar on a terminal and a line in a log."""
    console = Console(stderr=True)
    if wanted and not console.is_terminal:
        count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
        console.print(f"measuring the networks of {count}", highlight=False)
    hidden = not (wanted and console.is_terminal)
    return track(runs, "measuring", console=console, disable=hidden)


def _row(directory: Path, part: str, run: Planned, dataset: Dataset) -> Row:
    return Row(
        part, run.config.seed, _config(run.config), _measured(place(directory, run), dataset)
    )


def _measured(directory: Path, dataset: Dataset) -> dict[str, Any]:
    if (directory / RESULT).exists():
        return measures(directory, dataset)
    failure = read_failure(directory)
    if failure is None:
        raise InvalidInput(f"{directory}: the run has not ended; make the study again to go on")
    return nothing(failure.reason)


def _config(config: TrainConfig) -> dict[str, Any]:
    """Every field but the seed; of a folder of data its name only, as it is one machine's."""
    found = config.model_dump(mode="json", exclude={"seed"})
    return found | {"data": shared_name(config.data)}


def _results(directory: Path, plan: Plan) -> list[Result]:
    places = [place(directory, run) for run in plan.runs]
    return [read_result(path) for path in places if (path / RESULT).exists()]


def _digest(directory: Path, results: list[Result]) -> str:
    found = _distinct(result.data_digest for result in results)
    if len(found) > 1:
        raise InvalidInput(
            f"{directory}: its runs were made on {len(found)} different data sets; "
            "give a new directory, or the data that it was begun with"
        )
    return found[0] if found else ""


def _made(results: list[Result]) -> Made:
    return Made(
        commits=_distinct(result.commit for result in results if result.commit),
        versions=_by_name(result.versions for result in results),
        hardware=_by_name(result.hardware for result in results),
        seconds=round(math.fsum(result.seconds for result in results), 1),
    )


def _by_name(tables: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[Any]] = {}
    for table in tables:
        for name, value in table.items():
            found.setdefault(name, []).append("none" if value is None else value)
    return {name: _distinct(values) for name, values in found.items()}


def _distinct(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(value) for value in values))
