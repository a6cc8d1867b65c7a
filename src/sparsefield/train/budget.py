"""How long a run will be, before it is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sparsefield.data import load
from sparsefield.errors import InvalidInput
from sparsefield.train.config import TrainConfig, default_epochs


@dataclass(frozen=True)
class Budget:
    """Optimiser steps of a run, and passes over the test set, the one before training included."""

    steps: int
    evaluations: int


def budgets(configs: Iterable[TrainConfig]) -> list[Budget]:
    """The budget of each config; every dataset is loaded once, so a missing one is found here.

    Raises
    ------
    InvalidInput
        Data that cannot be loaded, or a batch larger than the training set.

    >>> budgets([TrainConfig(data="digits", batch=64, epochs=3)])
    [Budget(steps=66, evaluations=4)]
    """
    sizes: dict[str, int] = {}
    found = []
    for config in configs:
        if config.data not in sizes:
            sizes[config.data] = len(load(config.data, normalise="none").train_y)
        found.append(_budget(config, sizes[config.data]))
    return found


def steps_of(config: TrainConfig, per_epoch: int) -> int:
    """Steps of a run whose epochs have ``per_epoch`` of them."""
    return min(per_epoch * (config.epochs or default_epochs(per_epoch)), config.steps or 2**63)


def _budget(config: TrainConfig, samples: int) -> Budget:
    per_epoch = samples // config.batch
    if not per_epoch:
        raise InvalidInput(
            f"batch={config.batch}: larger than the training set of {samples}; give a smaller one"
        )
    steps = steps_of(config, per_epoch)
    return Budget(steps, 1 + -(-steps // per_epoch))
