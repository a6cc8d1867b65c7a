"""Accuracy and sparsity of a model on a whole set of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    """Share of images classified rightly, and the share of exact zeros after each activation."""

    accuracy: float
    sparsity: tuple[float, ...]

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
    tally = torch.tensor([int(correct), len(labels), *counts.totals()], device=images.device)
    return _from_tally(runtime.all_reduce(tally, reduce_op="sum").tolist())


class ZeroCounts:
    """Exact zeros and values seen after each activation, in order of execution."""

    def __init__(self) -> None:
        self.zeros: list[Tensor] = []
        self.sizes: list[int] = []

    def see(self, call: Call) -> None:
        """Add one call to those of its layer in other passes."""
        layer = call.place.order
        if layer == len(self.zeros):
            self.zeros.append(torch.zeros_like(call.zeros))
            self.sizes.append(0)
        self.zeros[layer] += call.zeros
        self.sizes[layer] += call.output.numel()

    def totals(self) -> list[int]:
        """All counts of zeros, then all sizes."""
        return [int(count) for count in self.zeros] + self.sizes


@contextmanager
def counting_zeros(model: nn.Module) -> Iterator[ZeroCounts]:
    """Count zeros in every forward pass inside the block."""
    counts = ZeroCounts()
    with Watch(model, activation_modules(model)).passes(counts.see) as passes:
        yield counts
    passes.warn()


def _from_tally(tally: list[int]) -> Evaluation:
    correct, images, *counts = tally
    layers = len(counts) // 2
    pairs = zip(counts[:layers], counts[layers:], strict=True)
    return Evaluation(correct / images, tuple(zeros / size for zeros, size in pairs))
