"""From the directories of a study's sweeps to its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from sparsefield.data import Dataset, load, shared_name
from sparsefield.errors import InvalidInput
from sparsefield.studies.measures import measures
from sparsefield.studies.record import MEASURES, TOLD, Record, Row, differing
from sparsefield.studies.results import distinct, made_of
from sparsefield.studies.study import Scale, Study
from sparsefield.sweep import read_grid
from sparsefield.sweep.failure import read_failure
from sparsefield.sweep.folder import place
from sparsefield.train import Result, TrainConfig
from sparsefield.train.record import RESULT, read_result

Content = Mapping[str, Any]
Runs = Sequence[tuple[Path, TrainConfig]]  # of a part: where each run is, and what it is


def made_record(
    study: Study, scale: Scale, parts: Mapping[str, Content], directory: Path, *, progress: bool
) -> Record:
    """The record of sweeps that have ended, each in ``directory`` / its part.

    Raises InvalidInput for a damaged run, one that has not ended, or runs of a part on other data.
    """
    runs = {
        part: [(place(directory / part, run), run.config) for run in read_grid(content).runs]
        for part, content in parts.items()
    }
    results = {
        part: [read_result(path) for path, _ in those if (path / RESULT).exists()]
        for part, those in runs.items()
    }
    told = {part: _part(directory / part, those, results[part]) for part, those in runs.items()}
    return Record(
        study.name,
        scale,
        **{name: getattr(study, name) for name in TOLD[:-1]},
        tuned=list(study.tuned),
        made=made_of([result for found in results.values() for result in found]),
        parts=told,
        rows=_rows(runs, progress=progress),
    )


def _part(directory: Path, runs: Runs, results: Sequence[Result]) -> dict[str, Any]:
    digests = distinct(result.data_digest for result in results)
    if len(digests) > 1:
        raise InvalidInput(
            f"{directory}: its runs were made on {len(digests)} different data sets; "
            "give a new directory, or the data that it was begun with"
        )
    configs = [_config(config) for _, config in runs]
    fields = differing(configs)
    shared = {name: value for name, value in configs[0].items() if name not in fields}
    return {"digest": "".join(digests), "fields": fields, "config": shared}


def _rows(runs: Mapping[str, Runs], *, progress: bool) -> tuple[Row, ...]:
    loaded = cache(lambda data, normalise: load(data, normalise=normalise))
    every = [(part, *run) for part, those in runs.items() for run in those]
    console = Console(stderr=True)
    if progress and not console.is_terminal:  # a line in a log in place of a bar
        count = f"{len(every)} run{'' if len(every) == 1 else 's'}"
        console.print(f"measuring the networks of {count}", highlight=False)
    hidden = not (progress and console.is_terminal)
    return tuple(
        Row(part, run.seed, _config(run), _measured(path, loaded(run.data, run.normalise)))
        for part, path, run in track(every, "measuring", console=console, disable=hidden)
    )


def _measured(directory: Path, dataset: Dataset) -> dict[str, Any]:
    if (directory / RESULT).exists():
        return measures(directory, dataset)
    failure = read_failure(directory)
    if failure is None:
        raise InvalidInput(f"{directory}: the run has not ended; make the study again to go on")
    return {**dict.fromkeys(MEASURES), "failed": True, "reason": failure.reason}


def _config(config: TrainConfig) -> dict[str, Any]:
    """Every field but the seed; of a folder of data its name only, as it is one machine's."""
    found = config.model_dump(mode="json", exclude={"seed"})
    return found | {"data": shared_name(config.data)}
