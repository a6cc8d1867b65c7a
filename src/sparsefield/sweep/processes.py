"""Runs in processes of this machine, one in each: one that is killed takes no other with it.

The processes are forked from a server that has imported the libraries once (and done nothing
else): each starts in milliseconds, and they share the memory of the code. The server is started
with SIGINT and SIGTERM blocked, as they may come to the whole group, and could not say when its
children end if it ended with them; they let the signals through again. They end, with a checkpoint
saved, when the process that started them ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
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
from sparsefield.sweep.workers import End, Steps, make
from sparsefield.train import TrainConfig
from sparsefield.train.progress import Silent

# What a run imports, some of it only in its course; what is not installed is passed over.
_IMPORTED = (
    *("sparsefield.sweep.processes", "sparsefield.train.loop"),
    *("pyarrow.parquet", "sklearn.datasets", "torch._dynamo"),
)
_ENDING = frozenset({signal.SIGINT, signal.SIGTERM})

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
        self._under_way: dict[Future[Failure | None], tuple[NamedConfig, Process]] = {}

    def room(self, run: NamedConfig) -> bool:
        """Whether fewer than ``jobs`` runs are under way."""
        return len(self._under_way) < self._jobs

    def start(self, run: NamedConfig, directory: Path) -> None:
        """Make the run in a process that makes no other meanwhile."""
        with _undisturbed():  # a start that is cut in two leaves a process no one waits for
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
                yield run, done.result()

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
    with _undisturbed():
        forkserver.ensure_running()
    first = context.Process()
    first.start()
    first.join()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put signals off for a moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


if signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= _ENDING:  # nowhere but in the server
    os.register_at_fork(after_in_child=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING))


_counting: Counting  # of a process that makes a run


def _begin(lifeline: Connection, steps: Any) -> None:
    """Leave Ctrl-C to the parent, which holds the only other end of the lifeline."""
    global _counting
    _counting = Counting(steps)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()


def _end_with_parent(lifeline: Connection) -> None:
    """End as on termination when the parent closes the lifeline, or dies."""
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _make(config: TrainConfig, directory: Path, folder: Path) -> Failure | None:
    os.chdir(folder)  # relative paths of data are the user's
    return make(config, directory, _counting)
