"""Named shapes: from ``dnn-100x300-skip0.9`` to a network and random inputs for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN, Point, activation

_FORM = (
    "dnn-DEPTHxWIDTH[-inN][-inner][-skipA] or cnn-DEPTHxCHANNELSxSIZE[-inner][-skipA][-circular], "
    "in this order, sizes from 1 on and A below 1"
)
_PATTERN = re.compile(
    r"(?P<network>dnn|cnn)-(?P<depth>N)x(?P<width>N)(x(?P<size>N))?(-in(?P<inputs>N))?"
    r"(?P<inner>-inner)?(-skip(?P<skip>0(\.\d+)?))?(?P<circular>-circular)?".replace(
        "N", r"[1-9]\d*"
    )
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
    given = found.groupdict() if found else {"network": "none"}
    image = given["network"] == "cnn"
    if not found or image != bool(given["size"]) or given["inputs" if image else "circular"]:
        raise InvalidInput(f"shape {name!r}: must read {_FORM}; try dnn-100x300")
    width = int(given["width"])
    return Shape(
        network="cnn" if image else "dnn",
        depth=int(given["depth"]),
        width=width,
        size=int(given["size"] or 0),
        inputs=width if given["inner"] else int(given["inputs"] or _INPUTS[given["network"]]),
        skip=float(given["skip"] or 0.0),
        inner=bool(given["inner"]),
        padding="circular" if given["circular"] else "zeros",
    )
