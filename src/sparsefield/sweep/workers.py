"""What makes the runs of a sweep: started one by one, they end in any order, some killed."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sparsefield.sweep.failure import Failure, raised
from sparsefield.sweep.folder import place
from sparsefield.sweep.grid import NamedConfig
from sparsefield.train import TrainConfig, train
from sparsefield.train.atomic import Held
from sparsefield.train.progress import Silent

if TYPE_CHECKING:
    from sparsefield.sweep.progress import Display

POLL = 0.25  # seconds between looks at the runs under way
PATIENCE = 60.0
TRIES = 2  # of a run whose process is killed, wherever it is made

Steps = Mapping[str, tuple[int, int]]  # by name: the step this making began at, the step it is at
End = tuple[NamedConfig, Failure | None]


class Workers(Protocol):
    """Something that makes runs, each in a process of its own."""

    def room(self, run: NamedConfig) -> bool:
        """Whether the run can be started now; it can where none is under way."""

    def start(self, run: NamedConfig, directory: Path) -> None:
        """Make the run in ``directory``, from its checkpoint if it has one."""

    def ended(self) -> Iterator[End]:
        """The runs that end within a moment: their result is in place, or why it is not."""

    def steps(self) -> Steps:
        """The steps of the runs under way, as far as they are known."""


def make_all(
    runs: Sequence[NamedConfig], directory: Path, workers: Workers, shown: Display
) -> Iterator[End]:
    """Make every run, and yield each as it ends; one whose process is killed is tried again."""
    waiting, tries, under_way = deque(runs), Counter[str](), 0
    while waiting or under_way:
        while waiting and workers.room(waiting[0]):
            run = waiting.popleft()
            workers.start(run, place(directory, run))
            tries[run.name] += 1
            under_way += 1
            shown.started(run.name)
        for run, failure in workers.ended():
            under_way -= 1
            if failure and failure.kind == "killed" and tries[run.name] < TRIES:
                shown.note(f"{run.name}: its process was killed; it is tried again")
                waiting.appendleft(run)
            else:
                yield run, failure and replace(failure, attempts=tries[run.name])
        shown.stepped(workers.steps())


def make(config: TrainConfig, directory: Path, shown: Silent) -> Failure | None:
    """Make the run in this process; None, or what it raised."""
    # A worker of a sweep that was killed may be about to end, a step or a checkpoint from now.
    patient_until = time.monotonic() + PATIENCE
    while True:
        try:
            train(config, out=directory, resume=True, progress=shown)
            return None
        except Exception as error:  # whatever it is, the other runs go on
            if not isinstance(error, Held) or time.monotonic() > patient_until:
                return raised(error, directory)
            time.sleep(0.1)
