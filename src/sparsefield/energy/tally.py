"""What is added up while the data runs through, one tally a layer and one an activation."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor

from sparsefield.energy.counted import ActivationCount, LayerCount
from sparsefield.energy.rows import Connection, only_signs, row_nonzeros, row_uses, row_width
from sparsefield.energy.traffic import TILE
from sparsefield.watch import Call


class LayerTally:
    """Counts of one layer, over all its calls."""

    def __init__(self, name: str, layer: Connection, *, carries: bool = False) -> None:
        self.name = name
        self._layer, self._carries = layer, carries
        self._nonzeros = row_nonzeros(layer)
        self._sums: Counter[str] = Counter()

    def see(self, read: Tensor, output: Tensor) -> None:
        """One call, before anything can overwrite what it read."""
        x, outputs = read.detach(), output.numel()
        active, width = x != 0, row_width(self._layer)
        uses = row_uses(self._layer, active)
        kind = "effective_acs" if only_signs(x) else "effective_macs"
        self._sums.update(
            {
                "calls": 1,
                "dense_macs": int(row_uses(self._layer, torch.ones_like(active)).sum()) * width,
                kind: int((uses * self._nonzeros).sum()),
                "active_products": int(uses.sum()) * width,
                "inputs": x.numel(),
                "active_inputs": int(active.sum()),
                "outputs": outputs,
                "lists": x.numel() // len(self._nonzeros),
                "rows_touched": int(uses.count_nonzero()),
                "register_tiles": math.ceil(outputs / len(self._layer.weight) / TILE),
                "carried": outputs * (self._carries and x.shape == output.shape),
            }
        )

    def result(self, samples: int) -> LayerCount:
        """The counts so far."""
        weight, bias = self._layer.weight, self._layer.bias
        return LayerCount(
            name=self.name,
            kind=type(self._layer).__name__,
            weight_shape=tuple(weight.shape),
            samples=samples,
            weights=weight.numel(),
            biases=0 if bias is None else bias.numel(),
            rows=self._nonzeros.numel(),
            row_width=row_width(self._layer),
            **{"effective_macs": 0, "effective_acs": 0, **self._sums},
        )


class ActivationTally:
    """Counts of one activation at one place of the pass, over all passes."""

    def __init__(self, call: Call) -> None:
        self._name, self._kind = str(call.place), type(call.module).__name__
        self._values, self._active = 0, torch.zeros_like(call.active_by_unit)
        self._saturated: int | None = None

    def see(self, call: Call) -> None:
        """One call."""
        self._values += call.output.numel()
        self._active += call.active_by_unit
        if (clipped := call.at_clip) is not None:
            self._saturated = (self._saturated or 0) + int(clipped.sum())

    def result(self) -> ActivationCount:
        """The counts so far."""
        dead: Tensor = (self._active == 0).nonzero().flatten()
        return ActivationCount(
            name=self._name,
            kind=self._kind,
            values=self._values,
            zeros=self._values - int(self._active.sum()),
            saturated=self._saturated,
            units=len(self._active),
            dead_units=tuple(dead.tolist()),
        )
