"""Many runs in worker processes, each in its own directory, those that are finished left alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsefield.errors import SparsefieldError
from sparsefield.experiments.lifeline import live_with_parent
from sparsefield.experiments.watching import Watch
from sparsefield.train import TrainConfig, read_run

if TYPE_CHECKING:
    from sparsefield.train import Result


@dataclass(frozen=True)
class Job:
    """A run to be made: what to call it, what it is, where its record goes."""

    label: str
    config: TrainConfig
    directory: Path


def run_all(jobs: Sequence[Job], *, workers: int, watch: Watch) -> None:
    """Make every run that is not finished yet, ``workers`` at a time, in processes of their own.

    An unfinished run goes on from its checkpoint. If this process is interrupted or dies, the
    workers save a checkpoint after their current step and end.

    Raises
    ------
    SparsefieldError
        What a run raised (a directory of another config, a damaged file), or a worker that died.
    """
    waiting = [job for job in jobs if not _finished(job)]
    with watch:
        watch.begin(total=len(jobs), finished=len(jobs) - len(waiting))
        if waiting:
            _pool(waiting, min(workers, len(waiting)), watch)


def _finished(job: Job) -> bool:
    """Whether the run is on record; a run of another config there is left for train to refuse."""
    if not (job.directory / "result.json").exists():
        return False
    return read_run(job.directory).config == job.config.resolved()


def _pool(waiting: list[Job], workers: int, watch: Watch) -> None:
    context = multiprocessing.get_context("spawn")
    # The pipe's one writing end is here: it closes when this process says so, or dies.
    reader, writer = context.Pipe(duplex=False)
    with ProcessPoolExecutor(workers, context, live_with_parent, (reader,)) as pool, reader:
        try:
            _feed(pool, waiting, workers, watch)
        except BrokenProcessPool:
            raise SparsefieldError(
                "a worker process died, for want of memory perhaps; the finished runs are kept: "
                "give the same command again to go on, with fewer workers"
            ) from None
        except BaseException:
            writer.close()
            raise
    writer.close()


def _feed(pool: ProcessPoolExecutor, waiting: list[Job], workers: int, watch: Watch) -> None:
    """Give a job to each worker that is free, so that none lies queued when it all ends early."""
    running: dict[Future[Result], Job] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            job = waiting.pop(0)
            running[pool.submit(_run, job)] = job
            watch.started(job.label, job.config.seed)
        for done in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(done)
            watch.finished(job.label, job.config.seed, done.result())


def _run(job: Job) -> Result:
    from sparsefield.train import train

    return train(job.config, out=job.directory, resume=True, progress=False)
