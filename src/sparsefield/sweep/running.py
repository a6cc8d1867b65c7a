"""sweep(): one file in, a directory of runs and their table out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from rich.console import Console

from sparsefield.errors import InvalidInput, require
from sparsefield.sweep.cluster import cluster, load_ray
from sparsefield.sweep.estimate import Estimate, estimate, step_weight
from sparsefield.sweep.failure import FAILED, Failure, write_failure
from sparsefield.sweep.folder import check_same, opened, place, waiting
from sparsefield.sweep.grid import Grid, NamedConfig, read_grid
from sparsefield.sweep.processes import processes
from sparsefield.sweep.progress import Display, Load
from sparsefield.sweep.table import ArmSummary, Row, rows, summaries, write_table
from sparsefield.sweep.workers import Workers, make_all
from sparsefield.train.budget import budgets, contents
from sparsefield.train.environment import cores
from sparsefield.train.record import read_result

Source = str | Path | Mapping[str, Any]
WorkersName = Literal["local", "ray"]


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
    source: Source,
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    workers: WorkersName = "local",
    address: str | None = None,
    retry_failed: bool = False,
    progress: bool = True,
    name: str = "",
) -> Swept:
    """Make every run of a sweep, each in a directory of its own, and the table of their results.

    The same call again goes on where it was, however it was ended: finished runs are kept, others
    go on from their checkpoints, and the table is the same to the last digit, wherever they are
    made. A run that raises, or whose process is killed twice, is recorded (``failed.json``), and
    the others go on.

    Parameters
    ----------
    source
        A sweep file, or its content; see :func:`read_grid`.
    out
        The sweep directory: ``sweep.yaml``, ``plan.json``, ``runs/NAME/``, ``table.parquet``. By
        default ``sweeps/`` and the name of the file.
    jobs
        Runs at a time; by default as many as have the cores of their threads to themselves.
    workers
        ``local``: processes of this machine. ``ray``: tasks of a Ray cluster.
    address
        Of the cluster (ray); by default a cluster of this machine alone.
    retry_failed
        Try the runs again that are recorded as failed without a result.
    progress
        Show progress on stderr.
    name
        What to call the sweep there.

    Raises
    ------
    InvalidInput
        What :func:`read_grid` raises; a directory that holds another sweep or is in use; data
        that cannot be loaded, or are not those that the sweep was begun with.
    MissingExtra
        Pyarrow or ray is not installed.
    """
    grid, directory, data, load = _asked(source, out, jobs, workers, address)
    with opened(directory, grid, data):
        for run in grid.runs if retry_failed else ():
            (place(directory, run) / FAILED).unlink(missing_ok=True)
        # What takes longest comes first, so that no worker is left with it in the end.
        left = sorted(waiting(directory, grid), key=lambda run: -load[run.name].total)
        console = Console(stderr=True, quiet=not progress)
        try:
            with Display(load, {run.name for run in left}, console, name=name) as shown:
                if left and workers == "ray":
                    with cluster(directory, left, address=address, jobs=jobs) as made:
                        _make(left, directory, made, shown)
                elif left:
                    with processes(_jobs(grid, jobs)) as here:
                        _make(left, directory, here, shown)
        finally:  # the table of what has ended, however that is
            table = rows(directory, grid)
            write_table(directory, table, grid)
    return Swept(directory, grid.fields, tuple(table), tuple(summaries(table, grid)))


def _make(left: Sequence[NamedConfig], directory: Path, made: Workers, shown: Display) -> None:
    """Make what is left: a failure goes to disk, and how each run ended is shown."""
    for run, failure in make_all(left, directory, made, shown):
        out = place(directory, run)
        if failure:
            write_failure(out, failure)
        shown.ended(run.name, outcome(out, failure))


def check(
    source: Source,
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    workers: WorkersName = "local",
    address: str | None = None,
) -> None:
    """Raise what :func:`sweep` would before it makes a run; nothing is written.

    That it is in use is only found by the sweep, which holds its directory.
    """
    grid, directory, data, _ = _asked(source, out, jobs, workers, address)
    check_same(directory, grid, data)


def dry_run(source: Source, *, out: str | Path | None = None, jobs: int | None = None) -> Estimate:
    """What :func:`sweep` would cost from here on, on this machine; nothing is written.

    Of what :func:`sweep` refuses, all that does not hang on its workers is refused.
    """
    grid, directory, data, _ = _asked(source, out, jobs, "local", None)
    check_same(directory, grid, data)
    return estimate(grid, directory, jobs=_jobs(grid, jobs))


def _asked(
    source: Source,
    out: str | Path | None,
    jobs: int | None,
    workers: WorkersName,
    address: str | None,
) -> tuple[Grid, Path, dict[str, str], dict[str, Load]]:
    """The grid, its directory, digests of its data, loads of its runs; or what is wrong."""
    grid, directory = read_grid(source), _directory(source, out)
    if jobs is not None and jobs < 1:
        raise InvalidInput(f"jobs={jobs}: must be at least 1")
    if workers not in get_args(WorkersName):
        raise InvalidInput(f"workers={workers!r}: must be {' or '.join(get_args(WorkersName))}")
    if workers == "ray":
        load_ray()
    elif address is not None:
        raise InvalidInput(f"address={address}: belongs to workers ray; leave it out")
    require("pyarrow", "train")
    configs = [run.config for run in grid.runs]
    data = contents(configs)
    load = {
        run.name: Load(budget.steps, step_weight(run.config))
        for run, budget in zip(grid.runs, budgets(configs, data), strict=True)
    }
    return grid, directory, {name: found.digest for name, found in data.items()}, load


def outcome(directory: Path, failure: Failure | None) -> str:
    """How a run ended, for its line."""
    if failure:
        return f"NO RESULT: {failure.reason}"
    result = read_result(directory)
    return (
        f"accuracy {result.test_accuracy:.1%}, zeros {result.sparsity_mean:.1%}, "
        f"{result.seconds:.0f} s{'  FAILED' if result.failed else ''}"
    )


def _jobs(grid: Grid, jobs: int | None) -> int:
    """As asked, or as many as have the cores of their threads to themselves."""
    threads = max(run.config.threads or 1 for run in grid.runs)
    return jobs or max(1, cores() // threads)


def _directory(source: Source, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    if isinstance(source, Mapping):
        raise InvalidInput("out=None: a sweep given as a mapping has no name; give its directory")
    return Path("sweeps") / Path(source).stem
