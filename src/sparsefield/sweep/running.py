"""sweep(): one file in, a directory of runs and their table out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sparsefield.data import Content
from sparsefield.errors import InvalidInput, require
from sparsefield.sweep.engine import Engine, Steps
from sparsefield.sweep.estimate import Estimate, estimate
from sparsefield.sweep.failure import Failure, write_failure
from sparsefield.sweep.folder import (
    check_same,
    forget_failures,
    opened,
    place,
    waiting,
)
from sparsefield.sweep.local import run_local
from sparsefield.sweep.pieces import Pieces, remove_groups, settle
from sparsefield.sweep.plan import Plan, Planned, read_plan
from sparsefield.sweep.progress import Quiet, display, outcome
from sparsefield.sweep.ray_engine import load_ray, run_ray
from sparsefield.sweep.table import ArmSummary, Row, rows, summaries, write_table
from sparsefield.sweep.workload import Workload
from sparsefield.train.budget import budgets, contents
from sparsefield.train.environment import cores
from sparsefield.train.record import read_result

EngineName = Literal["local", "ray"]
Together = Literal["auto", "never"]


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended: its directory, a row for each run, a summary of each arm."""

    directory: Path
    fields: tuple[str, ...]
    rows: tuple[Row, ...]
    arms: tuple[ArmSummary, ...]

    @property
    def without_result(self) -> int:
        """Runs that raised, or whose process was killed."""
        return sum(row["steps_made"] is None for row in self.rows)


def sweep(
    source: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    engine: EngineName = "local",
    address: str | None = None,
    together: Together = "auto",
    retry_failed: bool = False,
    progress: bool = True,
    name: str = "",
) -> Swept:
    """Make every run of a sweep, each in a directory of its own, and the table of their results.

    The same call again goes on where it was, however it was ended: finished runs are kept, others
    go on from their checkpoints, and the table is the same to the last digit. A run that raises,
    or whose process is killed twice, is recorded (``failed.json``), and the others go on; runs
    that train together and are killed twice, or one of which raises, go on alone before that.

    Parameters
    ----------
    source
        A sweep file, or its content; see :func:`read_plan`.
    out
        The sweep directory: ``sweep.yaml``, ``plan.json``, ``pieces.json``, ``runs/NAME/``,
        ``table.parquet``. By default ``sweeps/`` and the name of the file.
    jobs
        Workers, each with one run, or one piece of runs that train together, at a time; by
        default as many as have their threads' cores to themselves.
    engine
        ``local``: processes of this machine. ``ray``: tasks of a Ray cluster.
    address
        Of the cluster (ray); by default a cluster of this machine alone.
    together
        ``auto``: runs that differ in numbers only train as one network where that is measured to
        be faster (local); see :func:`sparsefield.train.train_together`. ``never``: each alone.
        Which runs do is settled before any of them begins and recorded (``pieces.json``); what is
        settled stays so, whatever ``jobs`` and ``together`` are when the sweep is resumed.
    retry_failed
        Try the runs again that are recorded as failed without a result.
    progress
        Show progress on stderr.
    name
        What to call the sweep there.

    Raises
    ------
    InvalidInput
        What :func:`read_plan` raises; a directory that holds another sweep or is in use; data
        that cannot be loaded, or are not those that the sweep was begun with; with ray, runs that
        were settled to train together.
    MissingExtra
        Pyarrow or ray is not installed.
    """
    plan, directory, data, steps = _asked(source, out, jobs, engine, address, together)
    wanted = _wanted(together) and engine == "local"
    with opened(directory, plan, data):
        if retry_failed:
            forget_failures(directory, plan)
        left = waiting(directory, plan)
        work = Workload(
            plan.runs,
            dict(zip((run.name for run in plan.runs), steps, strict=True)),
            {run.name for run in left},
        )
        pieces = settle(
            directory, plan, left, work=work.of, jobs=_jobs(plan, jobs), together=wanted
        )
        settled = [] if wanted else pieces.grouped(left)
        _check_alone(directory, engine, settled)
        pieces.write()
        remove_groups(directory, pieces)
        make = _engine(plan, engine, jobs, address, pieces)
        ended = len(plan.runs) - len(left)
        shown = display(progress, work, total=len(plan.runs), ended=ended, name=name)
        with _tabled(directory, plan) as table, shown:
            if settled:
                shown.note(f"{len(settled)} runs were settled to train together, and do so still")
            if left:
                make(left, directory, Recorder(directory, shown))
    return Swept(directory, plan.fields, tuple(table), tuple(summaries(table, plan)))


def check(
    source: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    engine: EngineName = "local",
    address: str | None = None,
    together: Together = "auto",
) -> None:
    """Raise what :func:`sweep` would before it makes a run; nothing is written.

    That it is in use is only found by the sweep, which holds its directory.

    Raises
    ------
    InvalidInput, MissingExtra
        As :func:`sweep`.
    """
    plan, directory, data, _ = _asked(source, out, jobs, engine, address, together)
    check_same(directory, plan, data)
    left = waiting(directory, plan)
    if engine == "ray":
        settled = settle(directory, plan, left, work=lambda _: 1.0, jobs=1, together=False)
        _check_alone(directory, engine, settled.grouped(left))


def _asked(
    source: str | Path | Mapping[str, Any],
    out: str | Path | None,
    jobs: int | None,
    engine: EngineName,
    address: str | None,
    together: Together,
) -> tuple[Plan, Path, dict[str, Content], list[int]]:
    """The plan, its directory, its data and the steps of each run, or what is wrong with them."""
    plan, directory = read_plan(source), _directory(source, out)
    _check_engine(engine, jobs, address)
    _wanted(together)
    require("pyarrow", "train")
    data = contents(run.config for run in plan.runs)
    steps = [budget.steps for budget in budgets((run.config for run in plan.runs), data)]
    return plan, directory, data, steps


def dry_run(
    source: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    together: Together = "auto",
) -> Estimate:
    """What :func:`sweep` would cost from here on, on this machine; nothing is written.

    Of what :func:`sweep` refuses, all that does not hang on its engine is refused.
    """
    check(source, out=out, jobs=jobs, together=together)
    plan, directory = read_plan(source), _directory(source, out)
    return estimate(plan, directory, jobs=_jobs(plan, jobs), together=_wanted(together))


class Recorder:
    """Hears the engine: failures go to disk, the rest to the display."""

    def __init__(self, directory: Path, shown: Quiet) -> None:
        self._directory, self._shown = directory, shown

    def started(self, run: Planned) -> None:
        """A run is being made."""
        self._shown.started(run.name)

    def stepped(self, steps: Steps) -> None:
        """The steps of the runs under way."""
        self._shown.stepped(steps)

    def ended(self, run: Planned, failure: Failure | None) -> None:
        """Record a failure; show how the run ended."""
        target = place(self._directory, run)
        if failure is not None:
            write_failure(target, failure)
            self._shown.ended(run.name, f"NO RESULT: {failure.reason}")
            return
        self._shown.ended(run.name, outcome(read_result(target)))

    def note(self, message: str) -> None:
        """Pass a message on."""
        self._shown.note(message)


@contextmanager
def _tabled(directory: Path, plan: Plan) -> Iterator[list[Row]]:
    """The table of what has ended is written however the block is left; filled at its end."""
    table: list[Row] = []
    try:
        yield table
    finally:
        table.extend(rows(directory, plan))
        write_table(directory, table, plan)


def _check_engine(name: EngineName, jobs: int | None, address: str | None) -> None:
    if jobs is not None and jobs < 1:
        raise InvalidInput(f"jobs={jobs}: must be at least 1")
    if name == "ray":
        load_ray()
    elif address is not None:
        raise InvalidInput(f"address={address}: belongs to engine ray; choose it, or leave it out")


def _engine(
    plan: Plan, name: EngineName, jobs: int | None, address: str | None, pieces: Pieces
) -> Engine:
    if name == "ray":
        return partial(run_ray, address=address, jobs=jobs)
    return partial(run_local, jobs=_jobs(plan, jobs), pieces=pieces)


def _check_alone(directory: Path, name: EngineName, settled: Sequence[Planned]) -> None:
    if name == "ray" and settled:
        raise InvalidInput(
            f"{directory}: {len(settled)} runs were settled to train together there; resume with "
            "engine local, or give another directory"
        )


def _wanted(together: Together) -> bool:
    if together not in ("auto", "never"):
        raise InvalidInput(f"together={together!r}: must be auto or never")
    return together == "auto"


def _jobs(plan: Plan, jobs: int | None) -> int:
    """As asked, or as many as have the cores of their threads to themselves."""
    threads = max(run.config.threads or 1 for run in plan.runs)
    return jobs or max(1, cores() // threads)


def _directory(source: str | Path | Mapping[str, Any], out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    if isinstance(source, Mapping):
        raise InvalidInput("out=None: a sweep given as a mapping has no name; give its directory")
    return Path("sweeps") / Path(source).stem
