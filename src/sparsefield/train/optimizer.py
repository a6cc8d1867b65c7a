"""The optimisers, PyTorch's own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from sparsefield.train.config import TrainConfig


def make_optimizer(
    config: TrainConfig, parameters: Iterable[tuple[str, nn.Parameter]]
) -> torch.optim.Optimizer:
    """The config's optimiser over named parameters, in the fused form that CPU and CUDA have.

    There is a group for each learning rate; with all factors at 1, one group of all parameters.
    """
    kinds: dict[str, Any] = {
        "sgd": partial(torch.optim.SGD, momentum=config.momentum),
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    assert config.lr is not None  # a resolved config
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters:
        groups.setdefault(config.lr * lr_factor(config, name), []).append(parameter)
    optimizer: torch.optim.Optimizer = kinds[config.optimizer](
        [{"params": group, "lr": rate} for rate, group in groups.items()],
        weight_decay=config.weight_decay,
        fused=True,
    )
    return optimizer


def lr_factor(config: TrainConfig, name: str) -> float:
    """The factor on the learning rate of a network's parameter.

    >>> config = TrainConfig(lr_first=4.0, lr_bias=2.0, lr_head=0.5)
    >>> names = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "head.weight", "head.bias"]
    >>> [lr_factor(config, name) for name in names]
    [4.0, 2.0, 1.0, 0.5, 1.0]
    """
    if name == "layers.0.weight":
        return config.lr_first
    if name == "head.weight":
        return config.lr_head
    return config.lr_bias if name.startswith("layers.") and name.endswith(".bias") else 1.0
