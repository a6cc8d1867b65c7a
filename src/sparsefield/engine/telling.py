"""What a training engine tells of the activations that it has not called."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sparsefield.nn.hold import Tell, by_unit

from .links import Dense
from .phi import Phi

if TYPE_CHECKING:
    from .training import Segment

_UNITS = 1  # their axis, [batch, units, ...]


@dataclass(frozen=True)
class Listener:
    """Who is told, and whether it looks; see :class:`sparsefield.nn.hold.Telling`."""

    tell: Tell
    look: bool


def telling_steps(
    steps: Iterable[Callable[[Tensor], Tensor]], listener: Listener
) -> Iterator[Callable[[Tensor], Tensor]]:
    """The steps of an engine, each of which tells of the activations in it."""
    from .training import Segment

    for step in steps:
        if isinstance(step, Segment):
            yield partial(step, listener=listener)
        elif isinstance(step, Dense):
            yield partial(_dense, step, listener.tell)
        elif isinstance(step, Phi):
            yield partial(_activation, step, listener.tell)
        else:
            yield step


def _dense(layer: Dense, tell: Tell, h: Tensor) -> Tensor:
    y = layer.reads(h)
    _tell_of(y, tell)
    return layer.from_activation(h, y)


def _activation(phi: Phi, tell: Tell, h: Tensor) -> Tensor:
    y = phi(h)
    _tell_of(y, tell)
    return y


def _tell_of(y: Tensor, tell: Tell) -> None:
    if torch.is_grad_enabled():
        tell([y.shape[_UNITS]], *by_unit(y, _UNITS))


def activity(
    segment: Segment, tape: Any, shape: torch.Size, *, look: bool
) -> tuple[Tensor | float, Tensor, Tensor | None]:
    """Of the inputs of all layers: the sites, the mean sizes, and the shares that are active.

    Where nobody looks the lists are not gone through: the sizes are those of the last look.
    """
    sites, threads = _sites(segment, shape), torch.get_num_threads()
    if not look and segment.seen is not None:
        return sites, segment.seen.detach(), None
    active, sizes = torch.zeros(2, sum(segment.widths))
    segment.native.add_active(tape, active.data_ptr(), sizes.data_ptr(), threads)
    segment.seen = sizes.div_(sites)
    return sites, segment.seen.detach(), active.div_(sites)


def _sites(segment: Segment, shape: torch.Size) -> Tensor | float:
    """Samples, or their pixels: at how many an input is; ``shape`` is [batch, ..., inputs]."""
    if len(shape) == 2:
        return float(shape[0])
    size, found = shape[1:-1], []
    for link, inputs in zip(segment.links, segment.widths, strict=True):
        assert link.window is not None
        found.append(torch.full((inputs,), float(shape[0] * math.prod(size))))
        size = torch.Size(link.window.after((size[0], size[1])))
    return torch.cat(found)
