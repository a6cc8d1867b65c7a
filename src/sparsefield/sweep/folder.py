"""A sweep directory: sweep.yaml, plan.json, runs/NAME, table.parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sparsefield.errors import InvalidInput
from sparsefield.sweep.failure import FAILED
from sparsefield.sweep.grid import Grid, NamedConfig
from sparsefield.train import TrainConfig
from sparsefield.train.atomic import remove_parts, write_bytes
from sparsefield.train.record import CHECKPOINT, RESULT, read_result

FILE, PLAN, RUNS, LOCK = "sweep.yaml", "plan.json", "runs", ".lock"
# Of a version that trained runs together: which did, and the checkpoint of a group.
PIECES, GROUP = "pieces.json", "together"


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


@contextmanager
def only_sweep(directory: Path) -> Iterator[None]:
    """Hold ``directory``, unless another sweep does (InvalidInput); a killed one holds nothing."""
    lock = FileLock(directory / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InvalidInput(
            f"{directory}: is held by another sweep; wait for it, or give another directory"
        ) from None
    except OSError as error:
        raise InvalidInput(
            f"{directory}: cannot be locked ({error.strerror}); give a directory that you may "
            "write to, on a file system with locks"
        ) from None
    try:
        yield
    finally:
        lock.release()


def check_same(directory: Path, grid: Grid, data: Mapping[str, str] | None = None) -> None:
    """What the directory holds is in the grid, unchanged and on the same data, or InvalidInput."""
    if not (directory / PLAN).exists():
        _check_unused(directory)
        return
    here = {run.name: run for run in grid.runs}
    held, digests = _held(directory / PLAN)
    for name, config in held.items():
        change = _change(config, here.get(name))
        if change:
            raise InvalidInput(
                f"{directory}: holds another sweep (run {name} {change}); a sweep that has begun "
                f"may only be given more runs: bring its file ({FILE} there) back, or give "
                "another directory"
            )
        if data is not None:
            _check_data(directory, here[name], config["data"], digests, data)


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


def forget_failures(directory: Path, grid: Grid) -> None:
    """Let the runs that raised, or whose process was killed, be tried again."""
    for run in grid.runs:
        (place(directory, run) / FAILED).unlink(missing_ok=True)


def part_groups(directory: Path, left: list[NamedConfig]) -> str:
    """Remove what runs that trained together have left; what to say about it, if anything."""
    groups = list((directory / RUNS).glob(f"*/{GROUP}"))
    for path in (*groups, directory / PIECES):
        path.unlink(missing_ok=True)
    lost = sum(not (place(directory, run) / CHECKPOINT).exists() for run in left)
    if not groups or not lost:
        return ""
    return (
        "runs were begun here that trained together, as they no longer do: the "
        f"{lost} without a checkpoint of their own are made alone, from their beginning"
    )


def _dumped(grid: Grid, data: Mapping[str, str]) -> bytes:
    runs = {run.name: run.config.model_dump(mode="json") for run in grid.runs}
    return f"{json.dumps({'data': dict(data), 'runs': runs}, indent=1)}\n".encode()


def _check_unused(directory: Path) -> None:
    if not directory.is_dir():
        return
    others = [path.name for path in sorted(directory.iterdir()) if path.name not in (RUNS, LOCK)]
    others += [f"{RUNS}/{path.name}" for path in sorted((directory / RUNS).glob("*"))]
    others = [name for name in others if not name.endswith(".part")]
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
    directory: Path,
    run: NamedConfig,
    name: str,
    digests: Mapping[str, str],
    data: Mapping[str, str],
) -> None:
    """A run that has begun would find the data that it was begun with, whatever their name.

    They are those of its result, before those of the plan; an old plan says nothing of them.
    """
    out, here = place(directory, run), run.config.data
    before = read_result(out).data_digest if (out / RESULT).exists() else digests.get(name)
    now = data[here]
    if before not in (None, now):
        remedy = "bring those back" if name == here else f"give data {name} again"
        raise InvalidInput(
            f"{directory}: run {run.name} is on data {name} (SHA-256 {str(before)[:12]}…), and "
            f"data {here} is {now[:12]}… here; the runs of a sweep stay on the data that they were "
            f"begun with: {remedy}, or give another directory"
        )
