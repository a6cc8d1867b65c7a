"""What a dataset is: as decoded and stored, and as handed to training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TENSORS = ("train_x", "train_y", "test_x", "test_y")
CHUNK = 64  # samples at a time: intermediate values then stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset ready to train on.

    Attributes
    ----------
    train_x, test_x : Tensor
        Inputs, float32, [n, C, H, W], normalised as ``normalise`` says.
    train_y, test_y : Tensor
        Labels, int64, [n], each in 0 .. ``classes`` - 1.
    classes : int
        The number of classes.
    digest : str
        SHA-256 of the decoded data before normalisation: equal data, equal digest, wherever
        it was read from.
    normalise : str
        The normalisation that was applied; see :func:`load`.
    """

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int
    digest: str
    normalise: str

    @cached_property
    def input_moment(self) -> float:
        """Mean square of ``train_x``: the second moment that the first layer's scale needs."""
        squares = (np.square(values, out=values) for values in in_float64(self.train_x))
        return sum(float(values.sum()) for values in squares) / self.train_x.numel()


@dataclass(frozen=True, eq=False)
class Decoded:
    """A dataset as decoded: uint8 pixels or float32 values, before normalisation.

    Attributes
    ----------
    train_x, test_x : Tensor
        uint8 or float32, [n, C, H, W].
    train_y, test_y : Tensor
        int64, [n].
    classes : int
        The number of classes.
    scale : float
        The stored value that means 1.0.
    """

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int
    scale: float

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shapes, types and values, as hexadecimal."""
        tensors: list[Tensor] = [getattr(self, name).contiguous() for name in TENSORS]
        layout = [(str(tensor.dtype), list(tensor.shape)) for tensor in tensors]
        digest = hashlib.sha256(json.dumps([layout, self.classes, self.scale]).encode())
        for tensor in tensors:
            digest.update(tensor.view(torch.uint8).flatten().numpy().data)
        return digest.hexdigest()


def in_float64(x: Tensor) -> Iterator[NDArray[np.float64]]:
    """Yield ``x`` as float64, ``CHUNK`` samples at a time, each in the place of the last.

    One small buffer, as memory fresh from the system costs more than the arithmetic on it; and
    NumPy, as its one thread never waits for others, which on busy cores costs far more still, and
    gives the same sums whatever the number of cores.
    """
    buffer = np.empty((CHUNK, *x.shape[1:]))
    for part in x.split(CHUNK):
        values = buffer[: len(part)]
        values[...] = part.numpy()
        yield values
