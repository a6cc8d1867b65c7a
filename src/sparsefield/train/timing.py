"""What a run costs here, from a few of its own steps."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsefield.data import load
from sparsefield.train.config import TrainConfig
from sparsefield.train.loop import cpu_threads
from sparsefield.train.network import save_model
from sparsefield.train.runtime import start_runtime
from sparsefield.train.training import Training


@dataclass(frozen=True)
class Cost:
    """Seconds to load and build, of a step and of a pass over the test set; bytes of the record."""

    start: float
    step: float
    evaluation: float
    disk: int


def cost(config: TrainConfig, *, steps: int = 5) -> Cost:
    """Make a few steps of a run and keep nothing of it.

    The first step warms up and is not counted; a step's seconds are the median of the others.
    The tables of the record (some kilobytes) are not in ``disk``.

    Raises
    ------
    SparsefieldError
        What :func:`sparsefield.train.train` raises for this config.
    """
    config, point = config.solved()
    with tempfile.TemporaryDirectory() as folder, cpu_threads(config.threads):

        def build() -> Training:
            data = load(config.data, normalise=config.normalise)
            return Training(config, point, start_runtime(config), Path(folder), data)

        build()  # what the first run of a process imports is no cost of a run
        start, training = _timed(build)
        return _measured(training, start, steps)


def _measured(training: Training, start: float, steps: int) -> Cost:
    def step() -> None:
        training.advance()
        float(training.tally)  # on a GPU: wait for it

    step()
    seconds = statistics.median(_timed(step)[0] for _ in range(steps))
    evaluation, _ = _timed(training.evaluate)
    training.save()
    save_model(training.directory, training.model, training.shape)
    disk = sum(path.stat().st_size for path in training.directory.iterdir())
    return Cost(start, seconds, evaluation, disk)


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = action()
    return time.perf_counter() - begun, result
