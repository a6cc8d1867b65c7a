"""Runs made as a sweep's are, each in a directory of the caller's; the first failure ends it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sparsefield.errors import SparsefieldError
from sparsefield.sweep.engine import Steps
from sparsefield.sweep.failure import Failure
from sparsefield.sweep.local import run_local
from sparsefield.sweep.plan import Planned
from sparsefield.sweep.progress import Quiet, display, outcome
from sparsefield.sweep.workload import Workload
from sparsefield.train import TrainConfig
from sparsefield.train.budget import budgets
from sparsefield.train.record import CHECKPOINT, RESULT, check_same, read_result

Places = Mapping[Planned, Path]


def run_all(places: Places, *, workers: int, progress: bool) -> None:
    """Make every run that is not finished yet, ``workers`` at a time, in processes of their own.

    An unfinished run goes on from its checkpoint. If this process is interrupted or dies, the
    workers save a checkpoint after their current step and end.

    Raises
    ------
    InvalidInput
        A directory of another config.
    SparsefieldError
        What a run raised (a damaged file), or a worker that died twice.
    """
    left = [run for run, place in places.items() if not _finished(place, run.config)]
    shown = display(progress, _work(places, left), total=len(places), ended=len(places) - len(left))
    with shown:
        if left:
            heard = Heard(shown, places)
            run_local(left, Path(), heard, jobs=workers, place=lambda _, run: places[run])


class Heard:
    """Hears how runs go: it is shown, and a run without a result is an error."""

    def __init__(self, shown: Quiet, places: Places) -> None:
        self._shown, self._places = shown, places

    def started(self, run: Planned) -> None:
        """A run is being made."""
        self._shown.started(run.name)

    def stepped(self, steps: Steps) -> None:
        """The steps of the runs under way."""
        self._shown.stepped(steps)

    def ended(self, run: Planned, failure: Failure | None) -> None:
        """Show the result."""
        if failure is None:
            self._shown.ended(run.name, outcome(read_result(self._places[run])))
        elif failure.kind == "killed":
            raise SparsefieldError(
                "a worker process died, for want of memory perhaps; the finished runs are kept: "
                "give the same command again to go on, with fewer workers"
            )
        else:
            raise SparsefieldError(f"{run.name}: {failure.reason}")

    def note(self, message: str) -> None:
        """Pass a message on."""
        self._shown.note(message)


def _finished(place: Path, config: TrainConfig) -> bool:
    finished = (place / RESULT).exists()
    if finished or (place / CHECKPOINT).exists():
        check_same(place, config)
    return finished


def _work(places: Places, left: list[Planned]) -> Workload:
    found = budgets(run.config for run in places)
    steps = {run.name: budget.steps for run, budget in zip(places, found, strict=True)}
    return Workload(list(places), steps, {run.name for run in left})
