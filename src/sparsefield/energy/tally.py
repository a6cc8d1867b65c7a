"""What the hooks add up while the data runs through, one tally a module."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sparsefield.energy.counted import ActivationCount, LayerCount
from sparsefield.energy.products import Connection, only_signs, row_nonzeros, row_uses, row_width
from sparsefield.energy.traffic import TILE


class LayerTally:
    """Counts of one layer; :meth:`see` is told of each call."""

    def __init__(self, name: str, module: Connection, carrying: bool) -> None:
        self.name, self.module = name, module
        self._carrying = carrying
        self._width = row_width(module)
        self._nonzeros = row_nonzeros(module)
        self._calls = self._rows_touched = self._tiles = self._carried = 0
        self._dense = self._macs = self._acs = self._products = 0
        self._inputs = self._active = self._outputs = self._lists = 0

    def see(self, x: Tensor, output: Tensor) -> None:
        """One call, with its input and output, before anything can overwrite them."""
        active = x != 0
        uses = row_uses(self.module, active)
        effective = int((uses * self._nonzeros).sum())
        if only_signs(x):
            self._acs += effective
        else:
            self._macs += effective
        self._products += int(uses.sum()) * self._width
        self._dense += int(row_uses(self.module, torch.ones_like(active)).sum()) * self._width
        self._rows_touched += int(uses.count_nonzero())
        self._see_sizes(x, output, int(active.sum()))

    def _see_sizes(self, x: Tensor, output: Tensor, active: int) -> None:
        outputs, inputs = _features(self.module)
        self._calls += 1
        self._inputs += x.numel()
        self._active += active
        self._lists += x.numel() // inputs
        self._outputs += output.numel()
        self._tiles += math.ceil(output.numel() / outputs / TILE)
        if self._carrying and x.shape == output.shape:
            self._carried += output.numel()

    def result(self, samples: int) -> LayerCount:
        """The counts so far."""
        bias = self.module.bias
        return LayerCount(
            name=self.name,
            kind=type(self.module).__name__,
            weight_shape=tuple(self.module.weight.shape),
            samples=samples,
            calls=self._calls,
            dense_macs=self._dense,
            effective_macs=self._macs,
            effective_acs=self._acs,
            active_products=self._products,
            inputs=self._inputs,
            active_inputs=self._active,
            outputs=self._outputs,
            lists=self._lists,
            weights=self.module.weight.numel(),
            biases=0 if bias is None else bias.numel(),
            rows=self._nonzeros.numel(),
            row_width=self._width,
            rows_touched=self._rows_touched,
            register_tiles=self._tiles,
            carried=self._carried,
        )


class ActivationTally:
    """Counts of one activation; :meth:`see` is told of each call."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self._values = self._nonzeros = self._saturated = 0
        self._clip = float(getattr(module, "m", math.inf))
        self._by_unit: Tensor | None = None

    def see(self, x: Tensor, output: Tensor) -> None:
        """One call; axis 1 of the output is that of units or channels."""
        active = (output != 0).reshape(len(output), -1) if output.dim() < 2 else output != 0
        counts = active.sum([axis for axis in range(active.dim()) if axis != 1])
        self._by_unit = counts if self._by_unit is None else self._by_unit + counts
        self._values += output.numel()
        self._nonzeros += int(counts.sum())
        if math.isfinite(self._clip):
            clip = torch.tensor(self._clip, dtype=output.dtype, device=output.device)
            self._saturated += int((output.abs() >= clip).sum())

    def result(self) -> ActivationCount:
        """The counts so far."""
        assert self._by_unit is not None  # only tallies that were called are asked
        dead = (self._by_unit == 0).nonzero().flatten().tolist()
        return ActivationCount(
            name=self.name,
            kind=type(self.module).__name__,
            values=self._values,
            zeros=self._values - self._nonzeros,
            saturated=self._saturated if math.isfinite(self._clip) else None,
            units=len(self._by_unit),
            dead_units=tuple(dead),
        )


def _features(layer: Connection) -> tuple[int, int]:
    """Outputs and inputs of a layer: features, or channels."""
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    return layer.out_channels, layer.in_channels
