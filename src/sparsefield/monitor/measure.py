"""The numbers that are read off one pre-activation, one output and one gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sparsefield.nn import Activation


def mean_square(x: Tensor) -> Tensor:
    """Mean square of ``x`` over everything, shape [1], float64."""
    return _rms(x).square()


def gradient_rms(gradient: Tensor) -> Tensor:
    """Root mean square of a gradient over batch and units; shape [1]."""
    return _rms(gradient)


def _rms(x: Tensor) -> Tensor:
    # float64: squares of a vanishing gradient leave the range of float32
    flat = x.detach().reshape(-1)
    norm: Tensor = torch.linalg.vector_norm(flat, dtype=torch.float64)
    return (norm / math.sqrt(flat.numel())).reshape(1)


def outward(module: nn.Module, output: Tensor) -> Tensor:
    """Sparsity, saturated share and dead share of ``output``; shape [3].

    ``output`` is [batch, units] or [batch, channels, ...]; a unit is a column or a channel.
    """
    y = output.detach()
    alive = _count_by_unit(y)
    sparsity = 1 - alive.sum() / y.numel()
    dead = (alive == 0).float().mean()
    return torch.stack([sparsity, _saturated(module, y), dead])


def _count_by_unit(y: Tensor) -> Tensor:
    others = [axis for axis in range(y.dim()) if axis != 1]
    return (y != 0).sum(others)


def _saturated(module: nn.Module, y: Tensor) -> Tensor:
    if not isinstance(module, Activation) or math.isinf(module.m):
        return y.new_zeros((), dtype=torch.float32)
    return (y.abs() >= module.m).float().mean()
