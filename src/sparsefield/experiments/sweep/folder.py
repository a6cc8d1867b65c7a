"""A sweep directory: sweep.yaml, plan.json, runs/NAME, table.parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.experiments.failure import FAILED
from sparsefield.experiments.sweep.lock import only_sweep
from sparsefield.experiments.sweep.plan import Plan, Planned
from sparsefield.train.atomic import sweep as remove_parts
from sparsefield.train.atomic import write_bytes

FILE, PLAN, RUNS = "sweep.yaml", "plan.json", "runs"


@contextmanager
def opened(directory: Path, plan: Plan) -> Iterator[None]:
    """Hold the directory for the sweep of ``plan``: a new one, or one that may have begun.

    Raises
    ------
    InvalidInput
        The directory cannot be made, is held by another sweep, holds something else, or a sweep
        with runs that ``plan`` has not or has otherwise.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{directory}: cannot be made a directory ({error.strerror}); give another one"
        ) from None
    _check_same(directory, plan)  # nothing is left in a directory that is another's
    with only_sweep(directory):
        _check_same(directory, plan)
        (directory / RUNS).mkdir(exist_ok=True)
        remove_parts(directory)
        write_bytes(directory / PLAN, _dumped(plan))
        write_bytes(directory / FILE, plan.text.encode())
        yield


def place(directory: Path, run: Planned) -> Path:
    """The directory of a run."""
    return directory / RUNS / run.name


def waiting(directory: Path, plan: Plan) -> list[Planned]:
    """The runs that have neither a result nor a recorded failure."""
    ends = ("result.json", FAILED)
    return [
        run for run in plan.runs if not any((place(directory, run) / end).exists() for end in ends)
    ]


def forget_failures(directory: Path, plan: Plan) -> None:
    """Let the runs that raised, or whose process was killed, be tried again."""
    for run in plan.runs:
        (place(directory, run) / FAILED).unlink(missing_ok=True)


def _dumped(plan: Plan) -> bytes:
    runs = {run.name: run.config.model_dump(mode="json") for run in plan.runs}
    return f"{json.dumps({'runs': runs}, indent=1)}\n".encode()


def _check_same(directory: Path, plan: Plan) -> None:
    """What the directory holds is in the plan, unchanged; the plan may have more."""
    if not (directory / PLAN).exists():
        _check_unused(directory)
        return
    here = {run.name: run.config.model_dump(mode="json") for run in plan.runs}
    for name, config in _held(directory / PLAN).items():
        change = _change(config, here.get(name))
        if change:
            raise InvalidInput(
                f"{directory}: holds another sweep (run {name} {change}); a sweep that has begun "
                f"may only be given more runs: bring its file ({FILE} there) back, or give "
                "another directory"
            )


def _check_unused(directory: Path) -> None:
    others = [path.name for path in sorted(directory.iterdir()) if path.name not in (RUNS, ".lock")]
    others += [f"{RUNS}/{path.name}" for path in sorted((directory / RUNS).glob("*"))]
    others = [name for name in others if not name.endswith(".part")]
    if others:
        raise InvalidInput(
            f"{directory}: holds {others[0]} and no sweep; give a new directory, or one of a sweep"
        )


def _held(path: Path) -> dict[str, dict[str, Any]]:
    try:
        held: dict[str, dict[str, Any]] = json.loads(path.read_bytes())["runs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path}: is damaged ({type(error).__name__}); bring it back, or give another directory"
        ) from None
    return held


def _change(held: dict[str, Any], here: dict[str, Any] | None) -> str:
    """What sets a held run apart from the one here; ``data`` may go by another name."""
    if here is None:
        return "is not in the file"
    fields = [field for field in here if field != "data" and held.get(field) != here[field]]
    there = ", ".join(f"{field}={held.get(field)} there, {here[field]} here" for field in fields)
    return f"has {there}" if there else ""
