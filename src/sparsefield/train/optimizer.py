"""The optimisers, PyTorch's own."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from sparsefield.train.config import TrainConfig


def make_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The config's optimiser over all parameters, in the fused form that CPU and CUDA have."""
    kinds: dict[str, Any] = {
        "sgd": partial(torch.optim.SGD, momentum=config.momentum),
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    optimizer: torch.optim.Optimizer = kinds[config.optimizer](
        model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    return optimizer
