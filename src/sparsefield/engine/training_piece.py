"""A run of layers, each of which reads an activation, inside a model that trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from . import dispatch
from .links import Link
from .products import Chain
from .training import Segment

_GAIN = 0.97  # of the time that the layers take as they are, at most
_ROUNDS = 2


class TrainingPiece:
    """Called in the place of the layers, with what the first activation reads.

    Parameters
    ----------
    chain
        the layers and the activations before them.
    as_they_are
        the same as modules and functions of PyTorch, to be called in turn.

    Attributes
    ----------
    segment
        that runs them, once they are to go on lists.
    seconds
        forward and backward, on lists and as they are, summed over the calls of a pass.
    measuring
        whether calls are to be timed.
    contiguous
        whether its images are to lie as PyTorch's do.
    """

    def __init__(self, chain: Chain, as_they_are: Sequence[Callable[[Tensor], Tensor]]) -> None:
        self.links = tuple(_links(chain))
        self.segment: Segment | None = None
        self.seconds: tuple[float, float] | None = None
        self.measuring, self.contiguous = False, False
        self._as_they_are, self._images = tuple(as_they_are), chain.convolutional
        self._strides = [link.weight.stride() for link in self.links]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the layers."""
        return tuple(link.name for link in self.links)

    @property
    def gains(self) -> bool:
        """Whether lists were faster where it was measured."""
        return self.seconds is not None and self.seconds[0] <= _GAIN * self.seconds[1]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those of its layers that are trained."""
        held = [p for link in self.links for p in (link.weight, link.bias) if p is not None]
        return [p for p in held if p.requires_grad]

    def on_lists(self, wanted: bool) -> None:
        """Run on lists from now on, or as it was; weights lie as is best for that."""
        if not wanted:
            self.segment = None
            for link, stride in zip(self.links, self._strides, strict=True):
                if link.weight.stride() != stride:
                    held = torch.empty_strided(link.weight.shape, stride)
                    link.weight.data = held.copy_(link.weight.detach())
        elif self.segment is None:
            self.segment = Segment(self.links)

    def __call__(self, h: Tensor) -> Tensor:
        """h of the last layer."""
        if self.measuring:
            self._measure(h)
        return self.by_lists(h) if self.segment and self._fits(h) else self.as_it_was(h)

    def by_lists(self, h: Tensor) -> Tensor:
        """By the kernels."""
        assert self.segment is not None
        if self._images:
            return self.segment(h).contiguous() if self.contiguous else self.segment(h)
        if h.dim() == 2:
            return self.segment(h)
        out = self.segment(h.reshape(-1, h.shape[-1]))
        return out.view(*h.shape[:-1], out.shape[-1])

    def as_it_was(self, h: Tensor) -> Tensor:
        """By PyTorch's own modules."""
        for step in self._as_they_are:
            h = step(h)
        return h

    def _fits(self, h: Tensor) -> bool:
        layout = h.layout == torch.strided and h.device.type == "cpu"
        dimensions = h.dim() == 4 if self._images else h.dim() > 0
        return h.dtype == torch.float32 and layout and dimensions

    def _measure(self, h: Tensor) -> None:
        if not self._fits(h) or not (h.requires_grad or self.parameters):
            return
        lists, as_it_was = in_turns(
            self.on_lists, self._step(self.by_lists, h), self._step(self.as_it_was, h)
        )
        before = self.seconds or (0.0, 0.0)
        self.seconds = before[0] + lists, before[1] + as_it_was

    def _step(self, call: Callable[[Tensor], Tensor], h: Tensor) -> Callable[[], object]:
        """Forward and backward by one of the ways."""
        x = h.detach().clone().requires_grad_(h.requires_grad)
        wanted = [x, *self.parameters] if h.requires_grad else [*self.parameters]

        def step() -> object:
            out = call(x)
            return torch.autograd.grad(out, wanted, torch.ones_like(out))

        return step


def in_turns(
    on_lists: Callable[[bool], None], lists: Callable[[], object], as_it_was: Callable[[], object]
) -> tuple[float, float]:
    """The least seconds of both, each with weights that lie as is best for it, in some rounds.

    At the end nothing is on lists.
    """
    least = [math.inf, math.inf]
    for _ in range(_ROUNDS):
        for index, call in enumerate((lists, as_it_was)):
            on_lists(index == 0)
            least[index] = min(least[index], dispatch.seconds({0: call})[0])
    return least[0], least[1]


def _links(chain: Chain) -> Iterator[Link]:
    for index, product in enumerate(chain.products):
        assert isinstance(product.layer, nn.Linear | nn.Conv2d)
        yield Link(product.name, product.layer, chain.phi_read(index), 0.0, product.window)
