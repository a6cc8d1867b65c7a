"""The papers' networks: a DNN of equal widths, and a CNN of 3x3 convolutions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from torch import Generator, Tensor, nn
from torch.nn.utils import skip_init

from sparsefield.errors import InvalidInput
from sparsefield.theory import Point

from .fill import Weights
from .initialise import init_, torch_default_
from .of_point import activation

Init = Literal["eoc", "torch"]


class DNN(nn.Module):
    """Fully connected network [DT26, P24]; initialised on construction.

    h^1 = W x + b, h^(l+1) = W phi(h^l) + b, logits = head(phi(h^depth)). With a skip,
    h^(l+1) = alpha h^l + sqrt(1 - alpha^2) (W phi(h^l) + b), which has the same fixed point.

    Parameters
    ----------
    inputs
        features of one sample; a batch [batch, ...] is flattened to [batch, inputs].
    width
        units of every hidden layer.
    depth
        number of hidden layers, >= 1.
    classes
        number of logits.
    point
        sparsity, variances and activation, from :func:`sparsefield.solve` or, for top-k, from
        :func:`sparsefield.theory.winners_point`.
    skip
        alpha^2 in [0, 1), the share of the variance that the skip carries.
    init
        ``eoc`` (this library) or ``torch`` (PyTorch's default, for comparison).
    weights, input_moment, head_gain, generator
        see :func:`sparsefield.init_`.

    Raises
    ------
    InvalidInput
        a size below 1, or a value out of range.

    >>> import torch
    >>> from sparsefield import DNN, solve
    >>> model = DNN(64, 100, 5, 10, solve("crelu", sparsity=0.9, q=4.0, clip=1.1))
    >>> model(torch.randn(3, 8, 8)).shape
    torch.Size([3, 10])
    """

    registered_in_order = True  # to init_

    def __init__(
        self,
        inputs: int,
        width: int,
        depth: int,
        classes: int,
        point: Point,
        *,
        skip: float = 0.0,
        init: Init = "eoc",
        weights: Weights = "gaussian",
        input_moment: float = 1.0,
        head_gain: float = 1.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(inputs=inputs, width=width, depth=depth, classes=classes)
        self.skip = _checked_skip(skip)
        sizes = [inputs] + [width] * depth
        self.layers = nn.ModuleList(skip_init(nn.Linear, fan_in, width) for fan_in in sizes[:-1])
        self.activations = nn.ModuleList(activation(point) for _ in range(depth))
        self.head = skip_init(nn.Linear, width, classes)
        _initialise(self, point, init, weights, input_moment, head_gain, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [batch, classes]."""
        h = self.layers[0](x.flatten(1))
        for layer, phi in zip(self.layers[1:], self.activations, strict=False):
            h = carry(h, layer(phi(h)), self.skip)
        logits: Tensor = self.head(self.activations[-1](h))
        return logits


class CNN(nn.Module):
    """Convolutional network of 3x3 layers [DT26, P24]; initialised on construction.

    As :class:`DNN`, over images [batch, inputs, height, width]. The last activation is averaged
    to a ``pool`` x ``pool`` grid, flattened, and read by a linear head.

    Parameters
    ----------
    inputs
        channels of the image.
    width
        channels of every hidden layer.
    depth
        number of convolutions, >= 1.
    classes
        number of logits.
    point
        sparsity, variances and activation, from :func:`sparsefield.solve` or, for top-k, from
        :func:`sparsefield.theory.winners_point`.
    skip
        alpha^2 in [0, 1); a layer that changes the image's size has no skip.
    padding
        ``circular`` keeps the fixed point at every pixel, ``zeros`` loses variance at
        the edge of the image.
    strides
        indices (from 0) of the layers with stride 2.
    pool
        side of the grid before the head.
    init, weights, input_moment, head_gain, generator
        see :func:`sparsefield.init_`.

    Raises
    ------
    InvalidInput
        a size below 1, or a value out of range.
    """

    registered_in_order = True  # to init_

    def __init__(
        self,
        inputs: int,
        width: int,
        depth: int,
        classes: int,
        point: Point,
        *,
        skip: float = 0.0,
        padding: Literal["circular", "zeros"] = "circular",
        strides: Iterable[int] = (),
        pool: int = 4,
        init: Init = "eoc",
        weights: Weights = "gaussian",
        input_moment: float = 1.0,
        head_gain: float = 1.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(classes=classes, pool=pool)
        self.layers = convolutions(inputs, width, depth, padding=padding, strides=strides)
        self.skip = _checked_skip(skip)
        self.activations = nn.ModuleList(activation(point) for _ in range(depth))
        self.pool = nn.AdaptiveAvgPool2d(pool)
        self.head = skip_init(nn.Linear, width * pool**2, classes)
        _initialise(self, point, init, weights, input_moment, head_gain, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [batch, classes]."""
        h = self.layers[0](x)
        for layer, phi in zip(self.layers[1:], self.activations, strict=False):
            update = layer(phi(h))
            h = carry(h, update, self.skip) if update.shape == h.shape else update
        logits: Tensor = self.head(self.pool(self.activations[-1](h)).flatten(1))
        return logits


def carry(h: Tensor, update: Tensor, skip: float) -> Tensor:
    """The fixed-point-keeping skip, alpha h + sqrt(1 - alpha^2) update, with skip = alpha^2."""
    if skip == 0.0:
        return update
    return (math.sqrt(1.0 - skip) * update).add(h, alpha=math.sqrt(skip))


def _initialise(
    network: DNN | CNN,
    point: Point,
    init: str,
    weights: Weights,
    input_moment: float,
    head_gain: float,
    generator: Generator | None,
) -> None:
    if init == "torch":
        torch_default_(network, generator)
    elif init == "eoc":
        init_(
            network,
            point,
            weights=weights,
            input_moment=input_moment,
            head_gain=head_gain,
            generator=generator,
        )
    else:
        raise InvalidInput(f"init {init!r}: choose eoc or torch")


def _check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise InvalidInput(f"{name} {value}: must be a whole number, at least 1")


def _checked_skip(skip: float) -> float:
    if not 0.0 <= skip < 1.0:
        raise InvalidInput(
            f"skip {skip}: the share of the variance that the skip carries lies in [0, 1)"
        )
    return float(skip)


def convolutions(
    inputs: int,
    width: int,
    depth: int,
    *,
    padding: Literal["circular", "zeros"],
    strides: Iterable[int],
    bias: bool = True,
) -> nn.ModuleList:
    """The 3x3 layers of a CNN, not filled yet.

    Raises
    ------
    InvalidInput
        a size below 1, another padding, or a stride of a layer that is not there.
    """
    _check_sizes(inputs=inputs, width=width, depth=depth)
    if padding not in ("circular", "zeros"):
        raise InvalidInput(f"padding {padding!r}: choose circular or zeros")
    halved = _checked_strides(strides, depth)
    return nn.ModuleList(
        skip_init(
            nn.Conv2d,
            inputs if index == 0 else width,
            width,
            kernel_size=3,
            padding=1,
            stride=2 if index in halved else 1,
            padding_mode=padding,
            bias=bias,
        )
        for index in range(depth)
    )


def _checked_strides(strides: Iterable[int], depth: int) -> set[int]:
    chosen = set(strides)
    outside = [index for index in chosen if not 0 <= index < depth]
    if outside:
        raise InvalidInput(f"strides {outside}: layer indices lie in 0 to {depth - 1}")
    return chosen
