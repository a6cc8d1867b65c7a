"""The parameters of several networks of one shape as rows of one tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Any]
_LINE = 16  # floats of a cache line: a tensor that begins at one is read faster


class Layout:
    """Where each parameter of a network lies in its row.

    >>> layout = Layout(torch.nn.Linear(3, 2))
    >>> layout.size, {name: place.start for name, place in layout.places.items()}
    (32, {'weight': 0, 'bias': 16})
    """

    def __init__(self, model: nn.Module) -> None:
        self.shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
        self.places: dict[str, slice] = {}
        self.size = 0
        for name, shape in self.shapes.items():
            end = self.size + math.prod(shape)
            self.places[name] = slice(self.size, end)
            self.size = -(-end // _LINE) * _LINE

    def view(self, rows: Tensor, name: str) -> Tensor:
        """The parameter ``name`` of one row [size], or of all [members, size]; shares memory."""
        return rows[..., self.places[name]].view(*rows.shape[:-1], *self.shapes[name])

    def split(self, state: State) -> State:
        """An optimiser's state over one row as the state over the network's own parameters."""
        (group,) = state["param_groups"]
        held = state["state"].get(0, {})
        names = list(self.places)
        return {
            "state": {index: self._part(held, name) for index, name in enumerate(names) if held},
            "param_groups": [{**group, "params": list(range(len(names)))}],
        }

    def join(self, state: State) -> State:
        """The inverse of :meth:`split`; the gaps between parameters are zero."""
        (group,) = state["param_groups"]
        parts = [state["state"][index] for index in sorted(state["state"])]
        held = {key: self._whole(key, parts) for key in (parts[0] if parts else {})}
        return {"state": {0: held} if held else {}, "param_groups": [{**group, "params": [0]}]}

    def _part(self, held: State, name: str) -> State:
        return {
            key: self.view(value, name).clone() if _is_row(value) else value
            for key, value in held.items()
        }

    def _whole(self, key: str, parts: Sequence[State]) -> Any:
        values = [part[key] for part in parts]
        if not _is_row(values[0]):
            return values[0]
        row = values[0].new_zeros(self.size)
        for name, value in zip(self.places, values, strict=True):
            self.view(row, name).copy_(value)
        return row


def _is_row(value: Any) -> bool:
    """Whether a piece of state has a number for every parameter; a count of steps has not."""
    return isinstance(value, Tensor) and value.dim() > 0


def adopt(model: nn.Module, layout: Layout, row: Tensor, gradients: Tensor) -> None:
    """Move the parameters of ``model`` into ``row`` [size] and their gradients into ``gradients``.

    The model computes as before; whoever changes the row changes the model.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            place = layout.view(row, name)
            place.copy_(parameter)
            parameter.data = place
            parameter.grad = layout.view(gradients, name)
