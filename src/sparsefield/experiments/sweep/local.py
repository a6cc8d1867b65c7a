"""Runs in processes of this machine; one that is killed takes no other with it.

The processes are forked from a server that has imported the libraries once (and done nothing
else): a worker starts in milliseconds, and workers share the memory of the code.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from sparsefield.experiments.failure import Failure
from sparsefield.experiments.lifeline import live_with_parent
from sparsefield.experiments.sweep.engine import POLL, RETRIES, Listener, Steps, killed
from sparsefield.experiments.sweep.folder import place
from sparsefield.experiments.sweep.making import make
from sparsefield.experiments.sweep.plan import Planned
from sparsefield.train import TrainConfig
from sparsefield.train.progress import Silent

# What a run imports, some of it only in its course; what is not installed is passed over.
_IMPORTED = (
    *("sparsefield.experiments.sweep.local", "sparsefield.train.loop", "pyarrow.parquet"),
    *("sklearn.datasets", "torch._dynamo"),
)


@dataclass(frozen=True)
class Worker:
    """A pool of one process, and in memory both share the step its run began at and is at."""

    pool: ProcessPoolExecutor
    steps: Any


class Counting(Silent):
    """Writes the step of a run where the parent reads it."""

    def __init__(self, steps: Any) -> None:
        self._steps = steps

    def begin(self, step: int) -> None:
        """Say where the run starts."""
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
    running: dict[Future[str | None], tuple[Planned, Worker]] = field(default_factory=dict)

    def hire(self) -> None:
        """Add a worker."""
        context = _context()
        steps = context.Array("q", 2, lock=False)
        pool = ProcessPoolExecutor(1, context, _start, (self.reader, steps))
        self.workers.append(Worker(pool, steps))
        self.idle.append(self.workers[-1])

    def assign(self, run: Planned, directory: Path) -> None:
        """Give a run to an idle worker."""
        worker = self.idle.pop()
        worker.steps[:] = 0, 0
        future = worker.pool.submit(_make, run.config, place(directory, run), Path.cwd())
        self.running[future] = run, worker

    def finished(self) -> Iterator[tuple[Planned, Future[str | None]]]:
        """The runs that ended within a moment; their workers are free again."""
        for done in wait(self.running, timeout=POLL, return_when=FIRST_COMPLETED).done:
            run, worker = self.running.pop(done)
            if isinstance(done.exception(), BrokenProcessPool):
                worker.pool.shutdown()
                self.workers.remove(worker)
                self.hire()
            else:
                self.idle.append(worker)
            yield run, done

    def steps(self) -> Steps:
        """The steps of every run under way."""
        making = self.running.values()
        return {run.name: (worker.steps[0], worker.steps[1]) for run, worker in making}


def run_local(runs: Sequence[Planned], directory: Path, heard: Listener, *, jobs: int) -> None:
    """Make the runs, ``jobs`` at a time, each in a process of this machine.

    An unfinished run goes on from its checkpoint. A run whose process is killed is tried once
    more. If this process is interrupted or dies, the workers save a checkpoint after their
    current step and end.
    """
    waiting, attempts, directory = deque(runs), Counter[str](), directory.absolute()
    with _crew(min(jobs, len(runs))) as crew:
        while waiting or crew.running:
            while waiting and crew.idle:
                crew.assign(waiting[0], directory)
                heard.started(waiting.popleft())
            for run, done in crew.finished():
                attempts[run.name] += 1
                if isinstance(done.exception(), BrokenProcessPool):
                    if attempts[run.name] <= RETRIES:
                        heard.note(f"{run.name}: its process was killed; it is tried again")
                        waiting.appendleft(run)
                    else:
                        heard.ended(run, killed(run, attempts[run.name]))
                else:
                    reason = done.result()
                    heard.ended(run, Failure(reason, "raised") if reason else None)
            heard.stepped(crew.steps())


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


@contextmanager
def _crew(size: int) -> Iterator[Crew]:
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


def _make(config: TrainConfig, directory: Path, folder: Path) -> str | None:
    os.chdir(folder)  # relative paths of data are the user's
    return make(config, directory, _counting)
