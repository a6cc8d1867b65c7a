"""A plain CNN with BatchNorm before each activation, which makes the variance what it is told."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import skip_init

from sparsefield.theory import Point

from .networks import convolutions
from .of_point import activation


class BatchNormCNN(nn.Module):
    """Convolutions of 3x3 without biases, BatchNorm and activation after each, a linear head.

    BatchNorm gives each channel the mean beta = 0 and the variance gamma^2, whatever came before:
    gamma^2 = q* makes the zeros those of the point, in every layer and channel, at every depth.

    Parameters
    ----------
    inputs, width, depth, classes, point, padding, strides, pool, head_gain, generator
        as for :class:`sparsefield.CNN`.

    Raises
    ------
    InvalidInput
        a size below 1, another padding, or a stride of a layer that is not there.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        depth: int,
        classes: int,
        point: Point,
        *,
        padding: Literal["circular", "zeros"] = "circular",
        strides: Iterable[int] = (),
        pool: int = 4,
        head_gain: float = 1.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.layers = convolutions(
            inputs, width, depth, padding=padding, strides=strides, bias=False
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(depth))
        self.activations = nn.ModuleList(activation(point) for _ in range(depth))
        self.pool = nn.AdaptiveAvgPool2d(pool)
        self.head = skip_init(nn.Linear, width * pool**2, classes)
        self._fill(point.q, head_gain, generator)

    @torch.no_grad()
    def _fill(self, q: float, head_gain: float, generator: Generator | None) -> None:
        for name, parameter in self.named_parameters():
            if name.startswith("norms.") and name.endswith("weight"):
                parameter.fill_(math.sqrt(q))
            elif parameter.dim() == 1:
                parameter.zero_()
            else:
                gain = head_gain if name == "head.weight" else 1.0
                std = gain / math.sqrt(parameter[0].numel())
                nn.init.normal_(parameter, 0.0, std, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [batch, classes]."""
        for layer, norm, phi in zip(self.layers, self.norms, self.activations, strict=True):
            x = phi(norm(layer(x)))
        logits: Tensor = self.head(self.pool(x).flatten(1))
        return logits
