"""The optimisers and the schedule, PyTorch's own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from sparsefield.engine import TrainingEngine
from sparsefield.train.config import TrainConfig

_KINDS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def make_optimizer(
    config: TrainConfig,
    parameters: Iterable[tuple[str, nn.Parameter]],
    engine: TrainingEngine | None = None,
) -> torch.optim.Optimizer:
    """The config's optimiser over named parameters, in the fused form that CPU and CUDA have.

    There is a parameter group for each learning rate; with all factors at 1 there is one. With an
    engine its update is made with the weight gradients; see :meth:`TrainingEngine.optimizer`.
    """
    assert config.lr is not None  # a resolved config
    alike: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters:
        alike.setdefault(config.lr * lr_factor(config, name), []).append(parameter)
    kind = _KINDS[config.optimizer]
    options: dict[str, Any] = {
        "params": [{"params": parameters, "lr": rate} for rate, parameters in alike.items()],
        "weight_decay": config.weight_decay,
        "fused": True,
        **({"momentum": config.momentum} if kind is torch.optim.SGD else {}),
    }
    return kind(**options) if engine is None else engine.optimizer(kind, **options)


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


def cut_step(config: TrainConfig, total: int) -> int | None:
    """The step before which the thresholds rise, from 1 to ``total``; None where they do not."""
    return None if config.threshold is None else max(1, round(config.threshold_at * total))


def schedule_factor(config: TrainConfig, total: int, step: int) -> float:
    """The share of the peak learning rate that ``step`` (from 0) of ``total`` uses.

    A pure function of the step, for torch's ``LambdaLR``: its ``CosineAnnealingLR`` multiplies from
    step to step, which agrees to 5e-13 over 1500 steps and not to the last bit.

    >>> config = TrainConfig(warmup=0.5, schedule="constant")
    >>> [schedule_factor(config, 4, step) for step in range(4)]
    [0.5, 1.0, 1.0, 1.0]

    Thresholds that rise begin a run anew, warm-up and all, in the steps that are left.

    >>> config = TrainConfig(family="relu", sparsity=0.5, threshold=0.9, threshold_at=0.5, warmup=0)
    >>> [schedule_factor(config, 4, step) for step in range(4)]
    [1.0, 0.5, 1.0, 0.5]
    """
    cut = cut_step(config, total)
    if cut is not None:
        step, total = (step, cut) if step < cut else (step - cut, total - cut)
    rise = math.ceil(config.warmup * total)
    if step < rise:
        return (step + 1) / rise  # the first step is above 0
    if config.schedule == "constant":
        return 1.0
    done = (step - rise) / max(total - rise, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
