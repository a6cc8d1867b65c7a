"""One run, made in the process at hand: an error is an answer, not an end."""

from __future__ import annotations

import time
from pathlib import Path

from sparsefield.experiments.failure import one_line
from sparsefield.train import TrainConfig, train
from sparsefield.train.atomic import Held
from sparsefield.train.progress import Silent

PATIENCE = 60.0


def make(config: TrainConfig, directory: Path, shown: Silent) -> str | None:
    """Make the run, from its checkpoint if it has one; None, or in one line what it raised."""
    try:
        _when_free(config, directory, shown)
    except Exception as error:  # whatever it is, the other runs go on
        return one_line(error, directory)
    return None


def _when_free(config: TrainConfig, directory: Path, shown: Silent) -> None:
    """A worker of a sweep that was killed may be about to end, a step or a checkpoint from now."""
    patient_until = time.monotonic() + PATIENCE
    while True:
        try:
            train(config, out=directory, resume=True, progress=shown)
            return
        except Held:
            if time.monotonic() > patient_until:
                raise
        time.sleep(0.1)
