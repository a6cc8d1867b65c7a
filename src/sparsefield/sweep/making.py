"""Runs made in the process at hand: an error is an answer, not an end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sparsefield.sweep.failure import one_line
from sparsefield.train import TrainConfig, disband, faster_together, train, train_together
from sparsefield.train.atomic import Held
from sparsefield.train.progress import Silent

PATIENCE = 60.0


def make(config: TrainConfig, directory: Path, shown: Silent) -> str | None:
    """Make the run, from its checkpoint if it has one; None, or in one line what it raised."""
    return _answer(directory, lambda: train(config, out=directory, resume=True, progress=shown))


def make_together(
    configs: Sequence[TrainConfig], directories: Sequence[Path], shown: Silent
) -> str | None:
    """Make the runs as a group, from its checkpoint if it has one; None, or what that raised."""
    return _answer(
        directories[0].parent,
        lambda: train_together(configs, directories, resume=True, progress=shown),
    )


def disbanded(configs: Sequence[TrainConfig], directories: Sequence[Path]) -> str | None:
    """Let the runs of a group go on alone; None, or in one line what that raised."""
    return _answer(directories[0].parent, lambda: disband(configs, directories))


def measured(configs: Sequence[TrainConfig]) -> bool:
    """Whether together is faster; not if that cannot be measured, each run then says why."""
    try:
        return faster_together(configs)
    except Exception:
        return False


def _answer(directory: Path, action: Callable[[], object]) -> str | None:
    try:
        _when_free(action)
    except Exception as error:  # whatever it is, the other runs go on
        return one_line(error, directory)
    return None


def _when_free(action: Callable[[], object]) -> None:
    """A worker of a sweep that was killed may be about to end, a step or a checkpoint from now."""
    patient_until = time.monotonic() + PATIENCE
    while True:
        try:
            action()
            return
        except Held:
            if time.monotonic() > patient_until:
                raise
        time.sleep(0.1)
