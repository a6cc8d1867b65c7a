"""The numbers that are read off one pre-activation, one output and one gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparsefield.watch import Call


def mean_square(x: Tensor) -> Tensor:
    """Mean square of ``x`` over everything, shape [1], float64 where the device has it."""
    return _rms(x).square()


def gradient_rms(gradient: Tensor) -> Tensor:
    """Root mean square of a gradient over batch and units; shape [1]."""
    return _rms(gradient)


def _rms(x: Tensor) -> Tensor:
    flat = x.detach().reshape(-1)
    flat = flat if flat.is_floating_point() else flat.float()
    return (_norm(flat) / math.sqrt(flat.numel())).reshape(1)


def _norm(flat: Tensor) -> Tensor:
    # squares of a vanishing gradient leave the range of float32
    if flat.device.type == "mps":  # which knows no float64
        return scaled_norm(flat)
    norm: Tensor = torch.linalg.vector_norm(flat, dtype=torch.float64)
    return norm


def scaled_norm(flat: Tensor) -> Tensor:
    """Euclidean norm in float32, in units of the largest value."""
    largest = flat.float().abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
    scaled: Tensor = torch.linalg.vector_norm(flat.float() / largest)
    return largest * scaled


def outward(call: Call) -> Tensor:
    """Sparsity, saturated share and dead share of a call's output; shape [3]."""
    alive, clipped = call.active_by_unit, call.at_clip
    sparsity = 1 - alive.sum() / call.output.numel()
    dead = (alive == 0).float().mean()
    saturated = torch.zeros_like(dead) if clipped is None else clipped.float().mean()
    return torch.stack([sparsity, saturated, dead])
