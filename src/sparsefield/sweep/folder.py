"""A sweep directory: sweep.yaml, plan.json, runs/NAME, table.parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.sweep.failure import FAILED
from sparsefield.sweep.grid import Grid, NamedConfig
from sparsefield.train import TrainConfig
from sparsefield.train.atomic import LOCK, exclusive, remove_parts, write_bytes
from sparsefield.train.record import RESULT, read_result

FILE, PLAN, RUNS = "sweep.yaml", "plan.json", "runs"


@contextmanager
def opened(directory: Path, grid: Grid, data: Mapping[str, str] | None = None) -> Iterator[None]:
    """Hold the directory for the sweep of ``grid`` on ``data``: digests by name.

    Raises
    ------
    InvalidInput
        The directory cannot be made, is held by another sweep, holds something else, or a sweep
        with runs that ``grid`` has not or has otherwise, or that were begun on other data.
    """
    make_directory(directory)
    check_same(directory, grid, data)  # nothing is left in a directory that is another's
    with only_sweep(directory):
        check_same(directory, grid, data)
        (directory / RUNS).mkdir(exist_ok=True)
        remove_parts(directory)
        write_bytes(directory / PLAN, _dumped(grid, data or {}))
        write_bytes(directory / FILE, grid.text.encode())
        yield


def make_directory(directory: Path) -> None:
    """Make a directory, unless it is there; that it cannot be made is InvalidInput."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{directory}: cannot be made a directory ({error.strerror}); give another one"
        ) from None


def only_sweep(directory: Path) -> AbstractContextManager[None]:
    """Hold ``directory``, unless another sweep does (InvalidInput); a killed one holds nothing."""
    return exclusive(directory, "is held by another sweep")


def check_same(directory: Path, grid: Grid, data: Mapping[str, str] | None = None) -> None:
    """What the directory holds is in the grid, unchanged and on the same data, or InvalidInput."""
    if not (directory / PLAN).exists():
        _check_unused(directory)
        return
    here = {run.name: run for run in grid.runs}
    held, digests = _held(directory / PLAN)
    for name, config in held.items():
        if change := _change(config, here.get(name)):
            raise InvalidInput(
                f"{directory}: holds another sweep (run {name} {change}); a sweep that has begun "
                f"may only be given more runs: bring its file ({FILE} there) back, or give "
                "another directory"
            )
        if data is not None:
            _check_data(place(directory, here[name]), here[name], config["data"], digests, data)


def place(directory: Path, run: NamedConfig) -> Path:
    """The directory of a run."""
    return directory / RUNS / run.name


def waiting(directory: Path, grid: Grid) -> list[NamedConfig]:
    """The runs that have neither a result nor a recorded failure."""
    return [
        run
        for run in grid.runs
        if not any((place(directory, run) / end).exists() for end in (RESULT, FAILED))
    ]


def _dumped(grid: Grid, data: Mapping[str, str]) -> bytes:
    runs = {run.name: run.config.model_dump(mode="json") for run in grid.runs}
    return f"{json.dumps({'data': dict(data), 'runs': runs}, indent=1)}\n".encode()


def _check_unused(directory: Path) -> None:
    found = sorted([*directory.glob("*"), *(directory / RUNS).glob("*")])
    others = [str(path.relative_to(directory)) for path in found]
    others = [name for name in others if name not in (RUNS, LOCK) and not name.endswith(".part")]
    if others:
        raise InvalidInput(
            f"{directory}: holds {others[0]} and no sweep; give a new directory, or one of a sweep"
        )


def _held(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The configs by run, and the digests by name of the data, none in plans of before them."""
    try:
        content = json.loads(path.read_bytes())
        known = TrainConfig(engine="dense").model_dump(mode="json")  # what newer fields were
        configs = {name: known | run for name, run in content["runs"].items()}
        return configs, dict(content.get("data", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"{path}: is damaged ({type(error).__name__}); bring it back, or give another directory"
        ) from None


def _change(held: dict[str, Any], run: NamedConfig | None) -> str:
    """What sets a held run apart from the one here; ``data`` may go by another name."""
    if run is None:
        return "is not in the file"
    here = run.config.model_dump(mode="json")
    fields = [field for field in here if field != "data" and held.get(field) != here[field]]
    there = ", ".join(f"{field}={held.get(field)} there, {here[field]} here" for field in fields)
    return f"has {there}" if there else ""


def _check_data(
    out: Path, run: NamedConfig, name: str, digests: Mapping[str, str], data: Mapping[str, str]
) -> None:
    """The data of its result come before those of the plan; an old plan says nothing of them."""
    before = read_result(out).data_digest if (out / RESULT).exists() else digests.get(name)
    here, now = run.config.data, data[run.config.data]
    if before not in (None, now):
        remedy = "bring those back" if name == here else f"give data {name} again"
        raise InvalidInput(
            f"{out.parents[1]}: run {run.name} is on data {name} (SHA-256 {str(before)[:12]}…), "
            f"and data {here} is {now[:12]}… here; the runs of a sweep stay on the data that they "
            f"were begun with: {remedy}, or give another directory"
        )
