"""How long a run will be, before it is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sparsefield.data import Content, content, split
from sparsefield.train.batches import per_epoch
from sparsefield.train.config import TrainConfig, default_epochs


@dataclass(frozen=True)
class Budget:
    """Optimiser steps of a run, and passes over the test set, the one before training included."""

    steps: int
    evaluations: int


def budgets(
    configs: Iterable[TrainConfig], known: Mapping[str, Content] | None = None
) -> list[Budget]:
    """The budget of each config; every dataset is read once, so a missing one is found here.

    Parameters
    ----------
    configs
        of runs.
    known
        their data by name, where that has been read; see :func:`contents`.

    Raises
    ------
    InvalidInput
        Data that cannot be loaded, or a batch larger than the training set.

    >>> budgets([TrainConfig(data="digits", batch=64, epochs=3)])
    [Budget(steps=66, evaluations=4)]
    """
    asked = list(configs)
    read = contents(asked) if known is None else known
    return [_budget(config, read[config.data].samples) for config in asked]


def contents(configs: Iterable[TrainConfig]) -> dict[str, Content]:
    """The data of the configs by name, each read once.

    Raises
    ------
    InvalidInput
        Data that cannot be loaded.
    """
    return {name: content(name) for name in dict.fromkeys(config.data for config in configs)}


def steps_of(config: TrainConfig, epoch: int) -> int:
    """Steps of a run whose epochs have ``epoch`` of them."""
    return min(epoch * (config.epochs or default_epochs(epoch)), config.steps or 2**63)


def _budget(config: TrainConfig, samples: int) -> Budget:
    epoch = per_epoch(len(split(samples, config.validation)[0]), config.batch)
    steps = steps_of(config, epoch)
    return Budget(steps, 1 + -(-steps // epoch))
