"""Accuracy and sparsity of a model on a whole set of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.monitor import activation_modules
from sparsefield.nn import evaluating
from sparsefield.train.runtime import Runtime

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
) -> Evaluation:
    """Run ``model`` over all images once; several processes share them.

    An output that is not finite counts as wrong. The model's mode is left as it was.
    """
    rank, world = runtime.global_rank, runtime.world_size
    images, labels = images[rank::world], labels[rank::world]
    with torch.no_grad(), evaluating(model), counting_zeros(model) as counts:
        correct = torch.zeros((), dtype=torch.int64, device=images.device)
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            counts.begin()
            with autocast():
                logits = model(x)
            right = (logits.argmax(1) == y) & logits.isfinite().all(1)
            correct += right.sum()
    tally = torch.tensor([int(correct), len(labels), *counts.totals()], device=images.device)
    return _from_tally(runtime.all_reduce(tally, reduce_op="sum").tolist())


class ZeroCounts:
    """Exact zeros and values seen after each activation, in order of execution."""

    def __init__(self) -> None:
        self.zeros: list[Tensor] = []
        self.sizes: list[int] = []
        self._layer = 0

    def begin(self) -> None:
        """A forward pass begins: the next activation is the first layer's."""
        self._layer = 0

    def see(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        """The forward hook."""
        if self._layer == len(self.zeros):
            self.zeros.append(torch.zeros((), dtype=torch.int64, device=output.device))
            self.sizes.append(0)
        self.zeros[self._layer] += output.numel() - output.count_nonzero()
        self.sizes[self._layer] += output.numel()
        self._layer += 1

    def totals(self) -> list[int]:
        """All counts of zeros, then all sizes."""
        return [int(count) for count in self.zeros] + self.sizes


@contextmanager
def counting_zeros(model: nn.Module) -> Iterator[ZeroCounts]:
    """Count zeros in every forward pass inside the block; the hooks come off at its end."""
    counts = ZeroCounts()
    handles = [module.register_forward_hook(counts.see) for module in activation_modules(model)]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def _from_tally(tally: list[int]) -> Evaluation:
    correct, images, *counts = tally
    layers = len(counts) // 2
    pairs = zip(counts[:layers], counts[layers:], strict=True)
    return Evaluation(correct / images, tuple(zeros / size for zeros, size in pairs))
