"""disband(): the runs of a group go on alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from sparsefield.data import load
from sparsefield.train.atomic import exclusive
from sparsefield.train.checkpoint import load_checkpoint, save_checkpoint
from sparsefield.train.config import TrainConfig
from sparsefield.train.group import CHECKPOINT
from sparsefield.train.record import CHECKPOINT as OWN_CHECKPOINT
from sparsefield.train.record import RESULT
from sparsefield.train.together import check_same


def disband(configs: Sequence[TrainConfig], outs: Sequence[str | Path]) -> None:
    """Let every unfinished run of a group go on alone, from the step that the group had saved.

    Each gets a checkpoint of its own, with which :func:`sparsefield.train.train` resumes it; the
    group's is removed. Directories that hold no group are left as they are. Killed in between and
    called again, it does the rest.

    Parameters
    ----------
    configs, outs
        What :func:`sparsefield.train.train_together` was given.

    Raises
    ------
    InvalidInput
        A checkpoint that is damaged, or of other runs; directories that are in use; a full disk.
    """
    resolved, directories = [config.resolved() for config in configs], [Path(out) for out in outs]
    if not any((directory / CHECKPOINT).exists() for directory in directories):
        return
    with ExitStack() as held:
        for directory in directories:
            held.enter_context(exclusive(directory))
        _disband(resolved, directories)


def _disband(configs: list[TrainConfig], directories: list[Path]) -> None:
    path = directories[0] / CHECKPOINT
    digest = load(configs[0].data, normalise=configs[0].normalise).digest
    state = load_checkpoint(path, configs[0], digest)
    if state is None:
        return
    check_same(path, state, configs)
    for place, own in zip(state["training"], state["states"], strict=True):
        directory = directories[place]
        if not (directory / RESULT).exists():
            save_checkpoint(directory / OWN_CHECKPOINT, configs[place], digest, _apart(own))
    path.unlink()


def _apart(value: Any) -> Any:
    """The same with tensors of its own: those of a group share memory, which is saved whole."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _apart(item) for key, item in value.items()}
    return [_apart(item) for item in value] if isinstance(value, list) else value
