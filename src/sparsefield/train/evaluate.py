"""Accuracy and sparsity of a model on a whole set of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.nn import evaluating
from sparsefield.train.runtime import Runtime
from sparsefield.watch import Call, Watch, activation_modules

BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """Share of images classified rightly, and the share of exact zeros after each activation.

    ``dead_share``: of all units, those that fired for no image.
    """

    accuracy: float
    sparsity: tuple[float, ...]
    dead_share: float

    @property
    def sparsity_mean(self) -> float:
        """Mean over the layers."""
        return sum(self.sparsity) / len(self.sparsity)


def evaluate(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    runtime: Runtime,
    autocast: Callable[[], AbstractContextManager[Any]],
    forward: Callable[[Tensor], Tensor] | None = None,
) -> Evaluation:
    """Run ``model``, by ``forward`` if given, over all images once; several processes share them.

    An output that is not finite counts as wrong. The model's mode is left as it was.
    """
    forward = forward or model
    rank, world = runtime.global_rank, runtime.world_size
    images, labels = images[rank::world], labels[rank::world]
    with torch.no_grad(), evaluating(model), counting_zeros(model) as counts:
        correct = torch.zeros((), dtype=torch.int64, device=images.device)
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            with autocast():
                logits = forward(x)
            right = (logits.argmax(1) == y) & logits.isfinite().all(1)
            correct += right.sum()
    tally = torch.tensor([int(correct), len(labels), *counts.sizes], device=images.device)
    tally = runtime.all_reduce(torch.cat([tally, *counts.active]), reduce_op="sum").cpu()
    return _from_tally(tally, [len(active) for active in counts.active])


def _from_tally(tally: Tensor, units: Sequence[int]) -> Evaluation:
    layers = len(units)
    correct, images, *sizes = tally[: 2 + layers].tolist()
    active = tally[2 + layers :]
    zeros = [
        (size - int(each.sum())) / size
        for size, each in zip(sizes, active.split(list(units)), strict=True)
    ]
    return Evaluation(correct / images, tuple(zeros), float((active == 0).double().mean()))


class ZeroCounts:
    """How often each unit was active, and values seen, after each activation in order."""

    def __init__(self) -> None:
        self.active: list[Tensor] = []
        self.sizes: list[int] = []

    def see(self, call: Call) -> None:
        """Add one call to those of its layer in other passes."""
        layer, active = call.place.order, call.active_by_unit
        if layer == len(self.active):
            self.active.append(torch.zeros_like(active))
            self.sizes.append(0)
        self.active[layer] += active
        self.sizes[layer] += call.output.numel()

    @property
    def zeros(self) -> list[int]:
        """Exact zeros of each layer."""
        return [
            size - int(active.sum()) for size, active in zip(self.sizes, self.active, strict=True)
        ]


@contextmanager
def counting_zeros(model: nn.Module) -> Iterator[ZeroCounts]:
    """Count zeros in every forward pass inside the block."""
    counts = ZeroCounts()
    with Watch(model, activation_modules(model)).passes(counts.see) as passes:
        yield counts
    passes.warn()
