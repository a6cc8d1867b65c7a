"""What a model's layers and activations do on a sample, beside what they were promised to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsefield.watch import Call, Watch

from .activations import Activation
from .order import Sample, run


@dataclass(frozen=True)
class Measured:
    """One call on the sample.

    Attributes
    ----------
    q
        mean square of what an activation reads, or a layer or norm puts out.
    zeros
        share of exact zeros that an activation puts out; None for the others.
    units
        of the activation.
    error
        standard error of ``zeros`` over the units: what one draw of the weights makes of it.
    """

    q: float
    zeros: float | None = None
    units: int = 0
    error: float = 0.0


def measure(
    model: nn.Module, sample: Sample, modules: Mapping[str, nn.Module]
) -> dict[str, Measured]:
    """Every call of these modules in one run of the sample, by name and turn."""
    seen: dict[str, Measured] = {}

    def see(call: Call) -> None:
        is_activation = isinstance(call.module, Activation)
        seen[str(call.place)] = _active(call) if is_activation else Measured(_moment(call.output))

    with Watch(model, modules).passes(see):
        run(model, sample)
    return seen


def _moment(x: Tensor) -> float:
    return x.to(torch.promote_types(x.dtype, torch.float32)).square().mean().item()


def _active(call: Call) -> Measured:
    active = call.active_by_unit.double()
    each = call.output.numel() / len(active)
    spread = (active / each).std(correction=0).item() / math.sqrt(len(active))
    zeros = 1.0 - active.sum().item() / call.output.numel()
    return Measured(_moment(call.read), zeros, len(active), spread)
