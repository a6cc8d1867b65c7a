"""One call of a watched module: where in a pass it stands, what it read and what it put out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Place:
    """Where a call stands.

    Attributes
    ----------
    name
        path of the module in the model.
    turn
        which call of this module in its pass, from 1.
    order
        how many watched calls came before it in its pass.
    lap
        which pass of the block, from 1; 0 for a call that is in no pass of the model.

    >>> str(Place("relu", turn=1, order=0, lap=1)), str(Place("relu", turn=2, order=3, lap=1))
    ('relu', 'relu#2')
    """

    name: str
    turn: int
    order: int
    lap: int

    def __str__(self) -> str:
        return self.name if self.turn == 1 else f"{self.name}#{self.turn}"


@dataclass(frozen=True)
class Call:
    """A call that has just been made.

    Attributes
    ----------
    place, module
        where it stands, and what was called.
    read
        its first tensor argument; an in-place module has overwritten it by now.
    output
        what it gave, any shape.
    units
        axis of units or channels in ``output``; all other axes are samples and positions. A tensor
        of fewer than two axes holds samples of one unit.
    """

    place: Place
    module: nn.Module
    read: Tensor
    output: Tensor
    units: int

    @property
    def zeros(self) -> Tensor:
        """Exact zeros of the output; int64, shape []."""
        return self.output.numel() - self.output.count_nonzero()

    @property
    def active_by_unit(self) -> Tensor:
        """How often each unit is not zero; int64, [units]."""
        active = self.output.detach() != 0
        if active.dim() < 2:
            return active.sum().reshape(1)
        units = self.units % active.dim()
        return active.sum([axis for axis in range(active.dim()) if axis != units])

    @property
    def at_clip(self) -> Tensor | None:
        """Which outputs are at the clip ``m`` of the module; None where it has none."""
        m = float(getattr(self.module, "m", math.inf))
        return None if math.isinf(m) else self.output.detach().abs() >= m
