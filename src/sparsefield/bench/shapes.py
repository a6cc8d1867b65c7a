"""Named shapes: from ``dnn-100x300-skip0.9`` to a network and random inputs for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN, Point, activation

_FORM = "dnn-DEPTHxWIDTH[-inN|-inner][-skipA] or cnn-DEPTHxCHANNELSxSIZE[-inner][-skipA][-circular]"
_PATTERN = re.compile(
    r"(dnn)-(\d+)x(\d+)((?:-[a-z0-9.]+)*)|(cnn)-(\d+)x(\d+)x(\d+)((?:-[a-z0-9.]+)*)"
)
_CLASSES = 10
_INPUTS = {"dnn": 784, "cnn": 3}  # values of an MNIST image, channels of a CIFAR-10 image
_POOL = 4


@dataclass(frozen=True)
class Shape:
    """The sizes of a benchmark network.

    Attributes
    ----------
    network
        ``dnn`` or ``cnn``.
    depth
        hidden layers.
    width
        units, or channels, of every hidden layer.
    size
        side of the square image in pixels; 0 for ``dnn``.
    inputs
        values of one input, or channels of the image.
    skip
        alpha^2 in [0, 1), see :class:`sparsefield.DNN`.
    inner
        whether it reads activations, as many as it is wide and as sparse as its own, as the inner
        layers of a network do; if not, values without zeros.
    padding
        of the convolutions. ``zeros`` unless asked for: PyTorch pads ``circular`` in a pass of
        its own, which would slow the dense rivals only.
    """

    network: Literal["dnn", "cnn"]
    depth: int
    width: int
    size: int
    inputs: int
    skip: float = 0.0
    inner: bool = False
    padding: Literal["zeros", "circular"] = "zeros"

    def build(self, point: Point, *, seed: int = 0) -> DNN | CNN:
        """The network at its critical point, untrained, in evaluation mode."""
        generator = Generator().manual_seed(seed)
        sizes = (self.inputs, self.width, self.depth, _CLASSES, point)
        if self.network == "dnn":
            return DNN(*sizes, skip=self.skip, generator=generator).eval()
        pool = min(_POOL, self.size)
        return CNN(
            *sizes, skip=self.skip, padding=self.padding, pool=pool, generator=generator
        ).eval()

    def random_inputs(self, count: int, point: Point, *, seed: int = 1) -> Tensor:
        """``count`` inputs of independent normal values; if ``inner``, phi of those at q*."""
        one = (self.inputs,) if self.network == "dnn" else (self.inputs, self.size, self.size)
        z = torch.randn(count, *one, generator=Generator().manual_seed(seed))
        return activation(point)(point.q**0.5 * z) if self.inner else z


def named_shape(name: str) -> Shape:
    """The shape that a name says.

    Raises
    ------
    InvalidInput
        a name of another form.

    >>> named_shape("dnn-100x300-skip0.9")
    Shape(network='dnn', depth=100, width=300, size=0, inputs=784, skip=0.9, inner=False,
    padding='zeros')
    >>> named_shape("cnn-8x64x32").size
    32
    """
    found = _PATTERN.fullmatch(name)
    if not found:
        raise InvalidInput(f"shape {name!r}: must read {_FORM}; try dnn-100x300")
    network, *sizes = [group for group in found.groups() if group is not None]
    depth, width, *size = (int(text) for text in sizes[:-1])
    if 0 in (depth, width, *size):
        raise InvalidInput(f"shape {name!r}: every size must be at least 1")
    kind: Literal["dnn", "cnn"] = "dnn" if network == "dnn" else "cnn"
    inputs, skip, inner, padding = _options(name, kind, sizes[-1])
    inputs = width if inner else inputs
    return Shape(kind, depth, width, size[0] if size else 0, inputs, skip, inner, padding)


def _options(
    name: str, network: str, text: str
) -> tuple[int, float, bool, Literal["zeros", "circular"]]:
    inputs, skip, inner, circular = _INPUTS[network], 0.0, False, False
    for option in text.split("-")[1:]:
        if network == "dnn" and re.fullmatch(r"in[1-9]\d*", option):
            inputs = int(option[2:])
        elif re.fullmatch(r"skip0(\.\d+)?", option):
            skip = float(option[4:])
        elif option == "inner":
            inner = True
        elif network == "cnn" and option == "circular":
            circular = True
        else:
            raise InvalidInput(f"shape {name!r}: option {option!r} is unknown; it reads {_FORM}")
    return inputs, skip, inner, "circular" if circular else "zeros"
