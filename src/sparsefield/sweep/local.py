"""Runs in processes of this machine; one that is killed takes no other with it.

The processes are forked from a server that has imported the libraries once (and done nothing
else): a worker starts in milliseconds, and workers share the memory of the code.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from sparsefield.sweep.agenda import Agenda, Answer, Does, Task
from sparsefield.sweep.engine import POLL, Listener, Steps
from sparsefield.sweep.folder import place
from sparsefield.sweep.lifeline import live_with_parent
from sparsefield.sweep.making import disbanded, make, make_together, measured
from sparsefield.sweep.pieces import Piece, Pieces
from sparsefield.sweep.plan import Planned
from sparsefield.sweep.served import ENDING
from sparsefield.train import TrainConfig
from sparsefield.train.progress import Silent

# What a run imports, some of it only in its course; what is not installed is passed over.
_IMPORTED = (
    "sparsefield.sweep.served",
    *("sparsefield.sweep.local", "sparsefield.train.faster", "pyarrow.parquet"),
    *("sparsefield.train.disbanding", "sklearn.datasets", "torch._dynamo"),
)


@dataclass(frozen=True)
class Worker:
    """A pool of one process, and in memory both share the step its task began at and is at."""

    pool: ProcessPoolExecutor
    steps: Any


class Counting(Silent):
    """Writes the step of a task where the parent reads it."""

    def __init__(self, steps: Any) -> None:
        self._steps = steps

    def begin(self, step: int) -> None:
        """Say where the task starts."""
        self._steps[:] = step, step

    def advance(self) -> None:
        """Count a step."""
        self._steps[1] += 1


@dataclass
class Crew:
    """The workers, those at leisure, and who makes what; a dead one is replaced."""

    reader: Connection
    workers: list[Worker] = field(default_factory=list)
    idle: list[Worker] = field(default_factory=list)
    running: dict[Future[Answer], tuple[Task, Worker]] = field(default_factory=dict)

    def hire(self) -> None:
        """Add a worker."""
        context = _context()
        steps = context.Array("q", 2, lock=False)
        pool = ProcessPoolExecutor(1, context, _start, (self.reader, steps))
        self.workers.append(Worker(pool, steps))
        self.idle.append(self.workers[-1])

    def assign(self, task: Task, places: Sequence[Path]) -> None:
        """Give a task to an idle worker, and where the records of its runs go."""
        worker = self.idle.pop()
        worker.steps[:] = 0, 0
        configs = [run.config for run in task.runs]
        with _undisturbed():  # a start that is cut in two leaves a worker no one waits for
            future = worker.pool.submit(_do, task.does, configs, places, Path.cwd())
            self.running[future] = task, worker

    def finished(self) -> Iterator[tuple[Task, Future[Answer]]]:
        """The tasks that ended within a moment; their workers are free again."""
        for done in wait(self.running, timeout=POLL, return_when=FIRST_COMPLETED).done:
            task, worker = self.running.pop(done)
            if isinstance(done.exception(), BrokenProcessPool):
                worker.pool.shutdown()
                self.workers.remove(worker)
                self.hire()
            else:
                self.idle.append(worker)
            yield task, done

    def steps(self) -> Steps:
        """The steps of every run under way; members of a piece are at the same."""
        return {
            run.name: (worker.steps[0], worker.steps[1])
            for task, worker in self.running.values()
            for run in task.made
        }


def run_local(
    runs: Sequence[Planned],
    directory: Path,
    heard: Listener,
    *,
    jobs: int,
    pieces: Pieces | None = None,
    place: Callable[[Path, Planned], Path] = place,
) -> None:
    """Make the runs, ``jobs`` tasks at a time, each in a process of this machine.

    An unfinished run goes on from its checkpoint. A task whose process is killed is tried once
    more. If this process is interrupted or dies, the workers save a checkpoint after their
    current step and end.

    Parameters
    ----------
    pieces
        Which runs train together, and those of which that is to be measured; None: none does.
    place
        Where under ``directory`` the record of a run goes.
    """
    directory = directory.absolute()
    agenda = Agenda(runs, pieces or Pieces([Piece((run,), False) for run in runs]), heard)
    with _crew(min(jobs, len(runs))) as crew:
        while agenda.waiting or crew.running:
            while crew.idle and (task := agenda.next()):
                crew.assign(task, [place(directory, run) for run in task.runs])
                for run in task.made:
                    heard.started(run)
            for task, done in crew.finished():
                if isinstance(done.exception(), BrokenProcessPool):
                    agenda.killed(task)
                else:
                    agenda.ended(task, done.result())
            heard.stepped(crew.steps())


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


def _start_server() -> None:
    """Start the server, if there is none, and wait until it has imported the libraries.

    Signals may come to the whole group: they do not end the server, which could then not say when
    its workers end. It ends with this process.
    """
    context = _context()
    resource_tracker.ensure_running()  # else the server starts it, and it lets the signals through
    with _undisturbed():
        forkserver.ensure_running()
    first = context.Process(target=_nothing)
    first.start()
    first.join()


def _nothing() -> None:
    pass


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put signals off for a moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _crew(size: int) -> Iterator[Crew]:
    _start_server()
    # The pipe's one writing end is here: it closes when this process says so, or dies.
    reader, writer = _context().Pipe(duplex=False)
    crew = Crew(reader)
    try:
        for _ in range(size):
            crew.hire()
        yield crew
    except BaseException:
        writer.close()
        raise
    finally:
        for worker in crew.workers:
            worker.pool.shutdown(cancel_futures=True)
        writer.close()
        reader.close()


_counting: Counting  # of a worker process


def _start(reader: Connection, steps: Any) -> None:
    global _counting
    live_with_parent(reader)
    _counting = Counting(steps)


def _do(
    does: Does, configs: Sequence[TrainConfig], directories: Sequence[Path], folder: Path
) -> Answer:
    os.chdir(folder)  # relative paths of data are the user's
    match does:
        case "alone":
            return make(configs[0], directories[0], _counting)
        case "together":
            return make_together(configs, directories, _counting)
        case "measure":
            return measured(configs)
        case "disband":
            return disbanded(configs, directories)
