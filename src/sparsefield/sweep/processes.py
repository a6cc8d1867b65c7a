"""Runs in processes of this machine, one in each: one that is killed takes no other with it.

The processes are forked from a server that has imported the libraries once (and done nothing
else): each starts in milliseconds, and they share the memory of the code.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import ProcessPoolExecutor as Pool
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from sparsefield.sweep import workers
from sparsefield.sweep.failure import Failure, killed
from sparsefield.sweep.grid import NamedConfig
from sparsefield.sweep.lifeline import live_with_parent, undisturbed
from sparsefield.sweep.workers import End, Steps, make
from sparsefield.train import TrainConfig
from sparsefield.train.progress import Silent

# What a run imports, some of it only in its course; what is not installed is passed over.
_IMPORTED = (
    *("sparsefield.sweep.lifeline", "sparsefield.sweep.processes", "sparsefield.train.loop"),
    *("pyarrow.parquet", "sklearn.datasets", "torch._dynamo"),
)


# A pool of one process, and in memory both share the step its run began at and is at.
Process = tuple[Pool, Any]


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


class Processes:
    """Processes of this machine, ``jobs`` at a time, that live no longer than ``lifeline``."""

    def __init__(self, jobs: int, lifeline: Connection) -> None:
        self._jobs, self._lifeline = jobs, lifeline
        self._idle: list[Process] = []
        self._under_way: dict[Future[str | None], tuple[NamedConfig, Process]] = {}

    def room(self, run: NamedConfig) -> bool:
        """Whether fewer than ``jobs`` runs are under way."""
        return len(self._under_way) < self._jobs

    def start(self, run: NamedConfig, directory: Path) -> None:
        """Make the run in a process that makes no other meanwhile."""
        with undisturbed():  # a start that is cut in two leaves a process no one waits for
            while True:
                pool, steps = self._idle.pop() if self._idle else self._new()
                steps[:] = 0, 0
                try:
                    future = pool.submit(_make, run.config, directory.absolute(), Path.cwd())
                except BrokenProcessPool:  # killed while it was idle
                    pool.shutdown()
                else:
                    self._under_way[future] = run, (pool, steps)
                    return

    def ended(self) -> Iterator[End]:
        """The runs that end within a moment."""
        for done in wait(self._under_way, workers.POLL, FIRST_COMPLETED).done:
            run, process = self._under_way.pop(done)
            if isinstance(done.exception(), BrokenProcessPool):
                process[0].shutdown()
                yield run, killed(run.name)
            else:
                self._idle.append(process)
                reason = done.result()
                yield run, Failure(reason, "raised") if reason else None

    def steps(self) -> Steps:
        """The steps of every run under way."""
        return {run.name: (at[0], at[1]) for run, (_, at) in self._under_way.values()}

    def wait(self) -> None:
        """Until every process has ended."""
        for pool, _ in [*self._idle, *(process for _, process in self._under_way.values())]:
            pool.shutdown(cancel_futures=True)

    def _new(self) -> Process:
        context = _context()
        steps = context.Array("q", 2, lock=False)
        return Pool(1, context, _begin, (self._lifeline, steps)), steps


@contextmanager
def processes(jobs: int) -> Iterator[Processes]:
    """Workers of this machine; left by an error or a signal, they save a checkpoint and end."""
    _start_server()
    reader, writer = _context().Pipe(duplex=False)
    started = Processes(jobs, reader)
    try:
        yield started
    except BaseException:
        writer.close()  # its one writing end: what is under way ends now
        raise
    finally:
        started.wait()
        writer.close()
        reader.close()


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


def _start_server() -> None:
    """Start the server, if there is none, and wait until it has imported the libraries."""
    context = _context()
    resource_tracker.ensure_running()  # else the server starts it, and it lets the signals through
    with undisturbed():
        forkserver.ensure_running()
    first = context.Process()
    first.start()
    first.join()


_counting: Counting  # of a process that makes a run


def _begin(lifeline: Connection, steps: Any) -> None:
    global _counting
    live_with_parent(lifeline)
    _counting = Counting(steps)


def _make(config: TrainConfig, directory: Path, folder: Path) -> str | None:
    os.chdir(folder)  # relative paths of data are the user's
    return make(config, directory, _counting)
