"""The numbers that are read off one pre-activation, one output and one gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparsefield.watch import Call


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


def outward(call: Call) -> Tensor:
    """Sparsity, saturated share and dead share of a call's output; shape [3]."""
    alive, clipped = call.active_by_unit, call.at_clip
    sparsity = 1 - alive.sum() / call.output.numel()
    dead = (alive == 0).float().mean()
    saturated = torch.zeros_like(dead) if clipped is None else clipped.float().mean()
    return torch.stack([sparsity, saturated, dead])
