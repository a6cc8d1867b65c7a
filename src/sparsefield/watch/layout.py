"""Which axis of an output is that of its units: the last after a linear layer, else the second."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


class Layout:
    """The axis of units in what a model's modules put out.

    [batch, ..., units] where the last layer that was called is linear and has as many outputs;
    [batch, channels, ...] elsewhere.

    Attributes
    ----------
    layers
        those to be heard of by :meth:`after`; none where all of a model's layers are of one kind.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [part for part in model.modules() if isinstance(part, nn.Linear | _ConvNd)]
        linear = {part.out_features for part in layers if isinstance(part, nn.Linear)}
        mixed = bool(linear) and any(isinstance(part, _ConvNd) for part in layers)
        self.layers = layers if mixed else []
        self._at_first = frozenset() if mixed else frozenset(linear)
        self._widths = self._at_first

    def begin(self) -> None:
        """A pass begins, and no layer has been called."""
        self._widths = self._at_first

    def after(self, layer: nn.Module, *_: Any) -> None:
        """A forward hook."""
        if isinstance(layer, nn.Linear):
            self._widths = frozenset([layer.out_features])
        else:
            self._widths = frozenset()

    def units(self, output: Tensor) -> int:
        """The axis, -1 or 1."""
        return -1 if output.dim() and output.shape[-1] in self._widths else 1
