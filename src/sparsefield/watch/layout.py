"""Which axis of an output is that of its units: the last after a linear layer, else the second."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy


class Layout:
    """The axis of units in what a model's modules put out, by the layer that was called last.

    [..., units] after a linear layer, [..., channels, *image] after a convolution: where an axis
    is as wide as what the layer put out. A part of the units lies as they do. Before any layer is
    called, a model without convolutions is taken for one of linear layers.
    """

    def __init__(self, model: nn.Module) -> None:
        images = any(isinstance(part, _ConvNd) for part in model.modules())
        weights = [] if images else [p for p in model.parameters() if not is_lazy(p)]
        sizes = frozenset(size for p in weights if p.dim() == 2 for size in p.shape)
        self._at_first = (-1 if sizes else 1, sizes)
        self._axis, self._widths = self._at_first

    def begin(self) -> None:
        """A pass begins, and no layer has been called."""
        self._axis, self._widths = self._at_first

    def after(self, module: nn.Module, output: Any) -> None:
        """A module has been called."""
        axis = _axis_of(module)
        if axis is not None and isinstance(output, Tensor) and output.dim() >= -axis:
            self._axis, self._widths = axis, frozenset([output.shape[axis]])

    def units(self, output: Tensor) -> int:
        """The axis; negative from the back."""
        sizes = output.shape
        for axis in (self._axis, -1, 1):
            if -len(sizes) <= axis < len(sizes) and sizes[axis] in self._widths:
                return axis
        reshaped = math.prod(sizes[1:]) in self._widths  # units laid out as images
        return -1 if self._axis == -1 and not reshaped else 1


def _axis_of(module: nn.Module) -> int | None:
    """Where a layer puts its units; None where the module is none."""
    if isinstance(module, _ConvNd):
        return -1 - len(module.kernel_size)
    if isinstance(module, nn.Linear):
        return -1
    weight = dict(module._parameters.items()).get("weight")  # a scripted module's are no dict
    return -1 if weight is not None and weight.dim() == 2 else None
