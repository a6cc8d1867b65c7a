"""A layer that trains on lists, and how its parameters lie in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput
from sparsefield.nn.networks import carry

from .phi import Phi
from .products import Window


@dataclass(frozen=True)
class Link:
    """A layer of a chain: its name, the activation it reads, its skip, and its window if it has."""

    name: str
    layer: nn.Linear | nn.Conv2d
    reads: Phi
    skip: float
    window: Window | None = None

    @property
    def weight(self) -> nn.Parameter:
        """Of the layer, ``[out, in]`` or ``[out, in, kernel_h, kernel_w]``."""
        weight = self.layer._parameters["weight"]
        assert isinstance(weight, nn.Parameter)
        return weight

    @property
    def bias(self) -> nn.Parameter | None:
        """Of the layer, ``[out]``."""
        bias = self.layer._parameters["bias"]
        assert bias is None or isinstance(bias, nn.Parameter)
        return bias


class Dense(nn.Module):
    """A layer that could run on lists, run by PyTorch: h of it, from h of the layer before."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.layer, self.reads, self.skip = link.layer, link.reads, link.skip

    def forward(self, h: Tensor) -> Tensor:
        """As the model has it."""
        return self.from_activation(h, self.reads(h))

    def from_activation(self, h: Tensor, y: Tensor) -> Tensor:
        """The same where y, the activation of h, is at hand."""
        update = self.layer(y)
        return carry(h, update, self.skip) if update.shape == h.shape else update


def lay(weight: Tensor) -> None:
    """Hold a weight ``[out, in, ...]`` input-major: a row of its memory is what an input adds.

    A convolution's lies as ``[kernel_h, kernel_w, in, out]``.
    """
    order = (*range(2, weight.dim()), 1, 0)
    held = weight.detach().permute(order)
    if not held.is_contiguous():
        weight.data = held.contiguous().permute((-1, -2, *range(weight.dim() - 2)))


def look(parameters: dict[str, nn.Parameter | None]) -> Any:
    """What changes where a layer's parameters are replaced or moved."""
    weight, bias = parameters["weight"], parameters["bias"]
    assert weight is not None
    layout = weight.data_ptr(), weight.stride(), weight.shape, weight.dtype
    return id(weight), layout, None if bias is None else (id(bias), bias.data_ptr(), bias.dtype)


def check_parameter(name: str, parameter: Tensor, size: tuple[int, ...]) -> None:
    """InvalidInput for what the kernels could not read."""
    if tuple(parameter.shape) != size:
        raise InvalidInput(
            f"{name}: a parameter of {list(parameter.shape)}, but {list(size)} when it was "
            "accelerated; accelerate the model again"
        )
    if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
        raise InvalidInput(
            f"{name}: a parameter of {parameter.dtype} on {parameter.device}; training on lists "
            "takes float32 on the CPU: model.float().cpu()"
        )
