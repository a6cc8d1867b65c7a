"""What the engine runs: products with weights, each followed by its skip and its activation."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsefield.errors import InvalidInput
from sparsefield.nn.networks import carry

from .phi import IDENTITY, Phi

_TAKEN = (torch.float32, "cpu")


def places(length: int, kernel: int, stride: int, dilation: int = 1) -> int:
    """How many places a kernel takes along an axis of so many values, padding among them.

    >>> places(5, kernel=3, stride=2)
    2
    """
    return (length - dilation * (kernel - 1) - 1) // stride + 1


class Window(NamedTuple):
    """The geometry of a convolution, as (height, width) pairs; padding with zeros or circular."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    circular: bool

    def after(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size of the image after it.

        Raises
        ------
        InvalidInput
            the image is smaller than the kernel, or than circular padding.
        """
        out = tuple(
            places(n + 2 * p, k, s)
            for n, k, s, p in zip(size, self.kernel, self.stride, self.padding, strict=True)
        )
        wraps = self.circular and any(p > n for n, p in zip(size, self.padding, strict=True))
        if min(out) < 1 or wraps:
            raise InvalidInput(f"image {size}: too small for a kernel {self.kernel}; give a larger")
        return out[0], out[1]


@dataclass(frozen=True)
class Product:
    """h = alpha h_before + sqrt(1 - alpha^2) (W y + b), and its activation phi(h).

    Attributes
    ----------
    name
        of the layer in the model.
    weight
        ``[out, in]`` or ``[out, in, kernel_h, kernel_w]``, float32, shared with the model.
    bias
        ``[out]`` or None.
    window
        the convolution's geometry; None for a fully connected layer.
    phi
        what is applied to h before the next layer reads it.
    skip
        alpha^2; a layer that changes the image's size has none.
    layer
        that the weight and bias are of, where there is one.
    norm
        that is folded into them, if one is.

    Raises
    ------
    InvalidInput
        shapes or types that do not belong together: the kernels read what they are told to.
    """

    name: str
    weight: Tensor
    bias: Tensor | None
    window: Window | None
    phi: Phi
    skip: float = 0.0
    layer: nn.Module | None = field(default=None, repr=False, compare=False)
    norm: nn.Module | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        weight, bias, window = self.weight, self.bias, self.window
        kernel = () if window is None else window.kernel
        if tuple(weight.shape[2:]) != kernel or weight.dim() < 2:
            raise InvalidInput(f"{self.name}: weights of {list(weight.shape)}, kernel {kernel}")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise InvalidInput(
                f"{self.name}: a bias of {list(bias.shape)} beside weights of "
                f"{list(weight.shape)}; give one value for each output"
            )
        if window is not None and (min(window.stride) < 1 or min(window.padding) < 0):
            raise InvalidInput(f"{self.name}: {window}; strides are at least 1, paddings 0")
        if not 0.0 <= self.skip < 1.0:
            raise InvalidInput(f"{self.name}: skip {self.skip}; it lies in [0, 1)")
        for tensor in (weight, bias):
            if tensor is not None and (tensor.dtype, tensor.device.type) != _TAKEN:
                raise InvalidInput(
                    f"{self.name}: weights are {tensor.dtype} on {tensor.device}; the engine takes "
                    "float32 on the CPU: model.float().cpu()"
                )

    @property
    def inputs(self) -> int:
        """Features or channels read."""
        return int(self.weight.shape[1])

    @property
    def outputs(self) -> int:
        """Features or channels made."""
        return int(self.weight.shape[0])

    @property
    def keeps_size(self) -> bool:
        """Whether h has as many pixels as what it reads, in images larger than 1 x 1."""
        if self.window is None:
            return True
        kernel, stride, padding, _ = self.window
        return stride == (1, 1) and all(
            2 * p == k - 1 for k, p in zip(kernel, padding, strict=True)
        )

    def times(self, y: Tensor) -> Tensor:
        """W y + b by PyTorch; images are [batch, height, width, channels]."""
        if self.window is None:
            return F.linear(y, self.weight, self.bias)
        x = y.permute(0, 3, 1, 2)
        _, stride, padding, circular = self.window
        if circular and any(padding):
            x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]), mode="circular")
            padding = (0, 0)
        return F.conv2d(x, self.weight, self.bias, stride, padding).permute(0, 2, 3, 1)

    def joined(self, h_before: Tensor | None, update: Tensor) -> Tensor:
        """h from the layer before's (None in the first layer) and W y + b."""
        if h_before is None or not self.keeps_size:
            return update
        return carry(h_before, update, self.skip)


@dataclass(frozen=True)
class Chain:
    """Products that follow one another, all fully connected or all convolutions.

    ``before`` is applied to what the first of them is given.

    Raises
    ------
    InvalidInput
        one reads another number of values than the one before makes, or a skip has no two equal
        ends.
    """

    products: tuple[Product, ...]
    before: Phi = IDENTITY

    def read(self, index: int, h: Tensor) -> Tensor:
        """What a product reads: phi of the layer before's ``h``, or of the chain's input."""
        return self.phi_read(index)(h)

    def phi_read(self, index: int) -> Phi:
        """The activation that is applied before a product."""
        return self.products[index - 1].phi if index else self.before

    def __post_init__(self) -> None:
        for index, product in enumerate(self.products):
            ends = index > 0 and product.inputs == product.outputs
            if product.skip and product.keeps_size and not ends:
                raise InvalidInput(
                    f"{product.name}: a skip from {product.inputs} to {product.outputs} values, "
                    f"layer {index}; it needs a layer before it, and equal numbers"
                )
        for before, after in pairwise(self.products):
            if before.outputs != after.inputs:
                raise InvalidInput(
                    f"{after.name}: reads {after.inputs} values, but {before.name} makes "
                    f"{before.outputs}; make them equal"
                )

    @property
    def convolutional(self) -> bool:
        """Whether they are convolutions."""
        return self.products[0].window is not None
