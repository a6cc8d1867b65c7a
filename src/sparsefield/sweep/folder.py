"""A sweep directory: sweep.yaml, plan.json, runs/NAME, table.parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sparsefield.data import Content
from sparsefield.errors import InvalidInput
from sparsefield.sweep.failure import FAILED
from sparsefield.sweep.lock import only_sweep
from sparsefield.sweep.plan import Plan, Planned
from sparsefield.sweep.same_data import Begun, check_data
from sparsefield.train.atomic import remove_parts, write_bytes

T = TypeVar("T")
FILE, PLAN, RUNS = "sweep.yaml", "plan.json", "runs"


@contextmanager
def opened(
    directory: Path, plan: Plan, data: Mapping[str, Content] | None = None
) -> Iterator[None]:
    """Hold the directory for the sweep of ``plan``: a new one, or one that may have begun.

    Parameters
    ----------
    directory
        of the sweep.
    plan
        its runs.
    data
        what the data of the runs are, by name: recorded, and compared with what is on record.

    Raises
    ------
    InvalidInput
        The directory cannot be made, is held by another sweep, holds something else, or a sweep
        with runs that ``plan`` has not or has otherwise, or that were begun on other data.
    """
    make_directory(directory)
    check_same(directory, plan, data)  # nothing is left in a directory that is another's
    with only_sweep(directory):
        check_same(directory, plan, data)
        (directory / RUNS).mkdir(exist_ok=True)
        remove_parts(directory)
        write_bytes(directory / PLAN, _dumped(plan, data or {}))
        write_bytes(directory / FILE, plan.text.encode())
        yield


def make_directory(directory: Path) -> None:
    """Make a directory, unless it is there.

    Raises
    ------
    InvalidInput
        It cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{directory}: cannot be made a directory ({error.strerror}); give another one"
        ) from None


def check_same(directory: Path, plan: Plan, data: Mapping[str, Content] | None = None) -> None:
    """What the directory holds is in the plan, unchanged; the plan may have more.

    Raises
    ------
    InvalidInput
        It is not, or the directory holds no sweep, or the data are not those it was begun with.
    """
    if not (directory / PLAN).exists():
        _check_unused(directory)
        return
    here = {run.name: run.config.model_dump(mode="json") for run in plan.runs}
    held, digests = recorded(directory / PLAN, _held)
    for name, config in held.items():
        change = _change(config, here.get(name))
        if change:
            raise InvalidInput(
                f"{directory}: holds another sweep (run {name} {change}); a sweep that has begun "
                f"may only be given more runs: bring its file ({FILE} there) back, or give "
                "another directory"
            )
    if data is not None:
        begun = [
            Begun(run, str(held[run.name]["data"]), digests, place(directory, run))
            for run in plan.runs
            if run.name in held
        ]
        check_data(directory, begun, data)


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


def recorded(path: Path, read: Callable[[Any], T]) -> T:
    """What ``read`` makes of the JSON of a file.

    Raises
    ------
    InvalidInput
        The file is damaged, or ``read`` says so.
    """
    try:
        return read(json.loads(path.read_bytes()))
    except InvalidInput:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"{path}: is damaged ({type(error).__name__}); bring it back, or give another directory"
        ) from None


def _dumped(plan: Plan, data: Mapping[str, Content]) -> bytes:
    runs = {run.name: run.config.model_dump(mode="json") for run in plan.runs}
    digests = {name: found.digest for name, found in data.items()}
    return f"{json.dumps({'data': digests, 'runs': runs}, indent=1)}\n".encode()


def _check_unused(directory: Path) -> None:
    if not directory.is_dir():
        return
    others = [path.name for path in sorted(directory.iterdir()) if path.name not in (RUNS, ".lock")]
    others += [f"{RUNS}/{path.name}" for path in sorted((directory / RUNS).glob("*"))]
    others = [name for name in others if not name.endswith(".part")]
    if others:
        raise InvalidInput(
            f"{directory}: holds {others[0]} and no sweep; give a new directory, or one of a sweep"
        )


def _held(content: Any) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The configs by run, and the digests by name of the data, none in plans of before them."""
    configs = {name: dict(run) for name, run in content["runs"].items()}
    return configs, dict(content.get("data", {}))


def _change(held: dict[str, Any], here: dict[str, Any] | None) -> str:
    """What sets a held run apart from the one here; ``data`` may go by another name."""
    if here is None:
        return "is not in the file"
    fields = [field for field in here if field != "data" and held.get(field) != here[field]]
    there = ", ".join(f"{field}={held.get(field)} there, {here[field]} here" for field in fields)
    return f"has {there}" if there else ""
