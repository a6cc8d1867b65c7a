"""A run of layers inside a model of any class: by lists, or as it was, whichever is faster."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from . import dispatch
from .layer_choice import Choice, span
from .native import Storage
from .products import Chain
from .runner import Runner

_GAIN = 0.97  # of the time that the layers take as they are, at most


class Piece:
    """Layers that follow one another, called in their place with the tensor that they read.

    Images are ``[batch, channels, height, width]``; a Linear reads any ``[..., features]``, each of
    whose rows is a sample here.

    Parameters
    ----------
    chain
        the layers.
    as_they_are
        the same as modules and functions of PyTorch, to be called in turn.
    storage
        of the weights.

    Attributes
    ----------
    name
        of the first and last layer.
    times
        by number of rows, seconds by lists and as they are, summed over the calls of a pass.
    asked
        ``measure``; ``sparse`` or ``dense`` take no notice of the times.
    measuring
        what is known of products, while calls are to be timed.
    contiguous
        whether its images are to lie as PyTorch's do.
    """

    def __init__(
        self, chain: Chain, as_they_are: Sequence[Callable[[Tensor], Tensor]], storage: Storage
    ) -> None:
        self.runner = Runner(chain, storage, torch.get_num_threads())
        self.name = span(self.runner)
        self.times: dict[int, tuple[float, float]] = {}
        self.asked: Choice = "measure"
        self.contiguous = False
        self.measuring: dict[Any, Any] | None = None
        self._as_they_are = tuple(as_they_are)
        self._images = chain.convolutional
        self._faster: dict[int, bool] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """The layers' output."""
        if not self._fits(x):
            return self.as_it_was(x)
        if self.measuring is not None:
            self._measure(x, self.measuring)
        return self.by_lists(x) if self.gains(self._rows(x)) else self.as_it_was(x)

    def gains(self, rows: int) -> bool:
        """Whether so many rows go on lists, by the times at the nearest number measured."""
        if self.asked != "measure" or not self.times:
            return self.asked == "sparse" and bool(self.times)
        if rows not in self._faster:
            lists, torch_s = self.times[nearest_size(self.times, rows)]
            self._faster[rows] = lists <= _GAIN * torch_s
        return self._faster[rows]

    @property
    def gains_somewhere(self) -> bool:
        """Whether there is a number of rows that goes on lists."""
        return any(self.gains(rows) for rows in self.times)

    def by_lists(self, x: Tensor) -> Tensor:
        """By the kernels, as the plans say."""
        if self._images:
            return self.runner(x).contiguous() if self.contiguous else self.runner(x)
        if x.dim() == 2:
            return self.runner(x)
        y = self.runner(x.reshape(-1, x.shape[-1]))
        return y.view(*x.shape[:-1], y.shape[-1])

    def as_it_was(self, x: Tensor) -> Tensor:
        """By PyTorch's own modules."""
        for step in self._as_they_are:
            x = step(x)
        return x

    def _rows(self, x: Tensor) -> int:
        return len(x) if self._images else math.prod(x.shape[:-1])

    def _fits(self, x: Tensor) -> bool:
        """Whether the kernels can read it; PyTorch says itself what it cannot."""
        return (
            x.dtype == torch.float32
            and x.device.type == "cpu"
            and x.layout == torch.strided
            and (x.dim() == 4 if self._images else x.dim() > 0)
            and x.numel() > 0
            and not torch.is_autocast_enabled("cpu")
        )

    def _measure(self, x: Tensor, known: dict[Any, Any]) -> None:
        """Time both ways on x, where the pass has come to it; its plan is made before."""
        rows = self._rows(x)
        plan = dispatch.measure(self.runner, x if self._images else x.reshape(rows, -1), known)
        others = tuple(other for other in self.runner.plans if other.batch != plan.batch)
        self.runner.plans = (*others, plan)
        taken = dispatch.seconds(
            {"lists": partial(self.by_lists, x), "as it was": partial(self.as_it_was, x)}
        )
        lists, torch_s = self.times.get(rows, (0.0, 0.0))
        self.times[rows] = lists + taken["lists"], torch_s + taken["as it was"]
        self._faster = {}

    def forget(self) -> None:
        """What was measured."""
        self.times, self._faster, self.runner.plans = {}, {}, ()


def nearest_size(sizes: Iterable[int], size: int) -> int:
    """Of some sizes, the nearest on a logarithmic scale."""
    return min(sizes, key=lambda known: abs(math.log(max(1, known) / max(1, size))))
