"""train(): one config in, one recorded run out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from sparsefield.data import load
from sparsefield.errors import require
from sparsefield.theory import Point
from sparsefield.train.atomic import exclusive
from sparsefield.train.checkpoint import load_checkpoint
from sparsefield.train.config import TrainConfig
from sparsefield.train.interrupt import Interruption
from sparsefield.train.progress import Silent, display
from sparsefield.train.record import CHECKPOINT, Result, open_run
from sparsefield.train.runtime import Runtime, from_main, main_first, start_runtime
from sparsefield.train.training import Training
from sparsefield.train.ways import check_engine


def train(
    config: TrainConfig, *, out: str | Path, resume: bool = False, progress: bool | Silent = True
) -> Result:
    """Train the network of ``config`` and record the run in the directory ``out``.

    One seed fixes everything: the same config twice on one machine gives the same numbers, and so
    does a run that was interrupted or killed at any moment and resumed (bit for bit on the CPU).
    With ``engine="auto"`` the seconds that steps take have a say: what they lead to is written to
    ``engine.json`` at once and is replayed from there, in this directory or in another.
    A run that diverges or stays at chance is recorded as failed; it raises nothing. Ctrl-C and
    termination end the run after the current step, with a checkpoint. The global random state and
    the number of threads are as before afterwards.

    Parameters
    ----------
    config
        The run; fields that depend on others are resolved and recorded.
    out
        The run directory; it is created.
    resume
        Go on from the checkpoint there, start where there is none, and return the result
        of a finished run.
    progress
        Show progress on stderr; or a display of one's own, which is told of every step.

    Raises
    ------
    SparsefieldError
        ``out`` holds a run and ``resume`` is off, or a run of another config, or a
        damaged checkpoint; an impossible point; a batch larger than the training set or not
        shared evenly by the processes; no such device.
    MissingExtra
        Pyarrow, or with several processes lightning-fabric, is not installed.
    """
    require("pyarrow", "train")
    config, point = config.solved()  # an impossible point is an error before anything is written
    runtime, directory = start_runtime(config), Path(out)
    check_engine(config, point, runtime.device)
    with ExitStack() as held, cpu_threads(config.threads):

        def open_directory() -> Result | None:
            held.enter_context(exclusive(directory))
            return open_run(directory, config, resume=resume)

        finished = from_main(runtime, open_directory)
        return finished or _run(config, point, runtime, directory, progress)


def _run(
    config: TrainConfig, point: Point, runtime: Runtime, directory: Path, progress: bool | Silent
) -> Result:
    dataset = main_first(runtime, lambda: load(config.data, normalise=config.normalise))
    training = Training(config, point, runtime, directory, dataset)
    path = directory / CHECKPOINT
    training.restore(from_main(runtime, lambda: load_checkpoint(path, config, dataset.digest)))
    wanted = progress if isinstance(progress, Silent) else progress and runtime.is_global_zero
    shown = display(wanted, step=training.step, total=training.total, epochs=training.epochs)
    if training.ways.reason:
        shown.note(f"engine: dense, {training.ways.reason}")
    return _made(training, shown)


def _made(training: Training, shown: Silent) -> Result:
    """The result, after all steps; a signal that came meanwhile acts as soon as all is saved."""
    with Interruption() as interruption:
        with shown:
            ended = _stepped(training, shown, interruption)
        result = training.finish() if ended else None
        if result is None or interruption.received is not None:
            interruption.deliver()
    return result


def _stepped(training: Training, shown: Silent, interruption: Interruption) -> bool:
    """Step to the end; False if a signal ended it before, with a checkpoint saved."""
    training.begin()
    saved = time.monotonic()
    while not training.ended:
        training.advance()
        training.record(shown)
        if interruption.received is not None:
            training.save()
            shown.note(f"interrupted after step {training.step}; resume goes on from there")
            return False
        if time.monotonic() - saved >= training.config.checkpoint_every:
            training.save()
            saved = time.monotonic()
    return True


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """So many threads in PyTorch inside the block; None: as many as there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
