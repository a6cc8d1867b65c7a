"""Which pixels a convolution reads, and the mean over its taps forwards and backwards.

A layer is h'(p) = sum_t W_t phi(h(s p + t)) + b, s the stride and t the taps. The fan-in is
channels * kernel^2 at the edge of the image too, so a tap outside of a zero-padded image counts as
zero in the mean. Delta-orthogonal weights have one tap, the centre: they neither average nor have
an edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sparsefield.errors import InvalidInput

from .quadrature import Array

Size = tuple[int, int]
Padding = Literal["circular", "zeros"]
Taps = Literal["gaussian", "delta"]


@dataclass(frozen=True)
class Convolution:
    """Which pixels one output pixel of a convolution reads; padding keeps the size ("same").

    Parameters
    ----------
    kernel
        side of the square kernel, odd; the padding is (kernel - 1) / 2.
    padding
        ``circular`` or ``zeros``, as in PyTorch's ``padding_mode``.
    stride
        every how many pixels there is an output, >= 1.
    weights
        ``gaussian`` (all taps alike; semi-orthogonal weights do the same), or ``delta``
        (delta-orthogonal: the centre tap alone, with the whole of sigma_w2).

    Raises
    ------
    InvalidInput
        an even kernel, a stride below 1, or an unknown padding or kind of weights.

    >>> Convolution(stride=2).output_size((28, 27))
    (14, 14)
    """

    kernel: int = 3
    padding: Padding = "circular"
    stride: int = 1
    weights: Taps = "gaussian"

    def __post_init__(self) -> None:
        check_whole("kernel", self.kernel)
        check_whole("stride", self.stride)
        if self.kernel % 2 == 0:
            raise InvalidInput(f"kernel {self.kernel}: an even one has no centre; use an odd one")
        if self.padding not in ("circular", "zeros"):
            raise InvalidInput(f"padding {self.padding!r}: choose circular or zeros")
        if self.weights not in ("gaussian", "delta"):
            raise InvalidInput(f"weights {self.weights!r}: choose gaussian or delta")

    @property
    def radius(self) -> int:
        """Pixels that the kernel reaches to each side, the width of the padding."""
        return (self.kernel - 1) // 2

    @property
    def offsets(self) -> range:
        """The taps along one axis that carry weight, relative to the centre."""
        radius = 0 if self.weights == "delta" else self.radius
        return range(-radius, radius + 1)

    @property
    def has_edge(self) -> bool:
        """Whether some tap that carries weight can fall outside of the image."""
        return self.padding == "zeros" and len(self.offsets) > 1

    def output_size(self, size: Size) -> Size:
        """Height and width after the convolution, those before it divided by the stride, up."""
        self._check_size(size)
        height, width = (-(-length // self.stride) for length in size)
        return height, width

    def reads(self, size: Size) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        """Index (row-major) of the pixel behind every tap, shape [taps, pixels out]; -1 outside.

        >>> Convolution(kernel=3, padding="zeros").reads((1, 2)).T.tolist()
        [[-1, -1, -1, -1, 0, 1, -1, -1, -1], [-1, -1, -1, 0, 1, -1, -1, -1, -1]]
        """
        out, width = self.output_size(size), size[1]
        rows, columns = (self._along(*lengths) for lengths in zip(size, out, strict=True))
        inside = (rows >= 0)[:, None, :, None] & (columns >= 0)[None, :, None, :]
        flat = rows[:, None, :, None] * width + columns[None, :, None, :]
        return np.where(inside, flat, -1).reshape(-1, math.prod(out))

    def average(self, field: Array, size: Size) -> Array:
        """The mean over the taps of a flat ``field`` [..., pixels] -> [..., pixels out]."""
        reads = self.reads(size)
        with_outside = _append_zero(field)  # index -1, outside of the image, reads this zero
        return np.asarray(sum(with_outside[..., tap] for tap in reads) / len(reads))

    def spread(self, field: Array, size: Size) -> Array:
        """The adjoint of :meth:`average`, [..., pixels out] -> [..., pixels]."""
        reads = self.reads(size)
        total = np.zeros((*field.shape[:-1], math.prod(size) + 1))
        for tap in reads:
            total[..., tap] += field  # a tap reads no pixel twice; all that is outside goes last
        return total[..., :-1] / len(reads)

    def transfer(self, size: Size) -> Array:
        """A(k), the factor of :meth:`average` on every Fourier mode of an image, shape [H, W].

        Frequencies are in the order of ``numpy.fft.fftfreq``.

        Raises
        ------
        InvalidInput
            with a stride, or with zero padding and Gaussian weights: Fourier modes mix.
        """
        self._check_size(size)
        if self.stride > 1 or self.has_edge:
            raise InvalidInput(
                f"padding {self.padding}, stride {self.stride}: Fourier modes keep apart with "
                "circular padding and stride 1 only; use fixed_profile for an image with an edge"
            )
        rows, columns = (_mean_cosine(self.offsets, length) for length in size)
        return rows[:, None] * columns

    def _along(self, length: int, out: int) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        """Pixel behind each tap along one axis, shape [taps, out]; -1 outside."""
        at = self.stride * np.arange(out) + np.array(self.offsets)[:, None]
        if self.padding == "circular":
            at = at % length
        return np.where((at >= 0) & (at < length), at, -1)

    def _check_size(self, size: Size) -> None:
        if np.shape(size) != (2,):
            raise InvalidInput(f"size {size}: must be (height, width)")
        for name, length in zip(("height", "width"), size, strict=True):
            check_whole(name, length)
            if self.padding == "circular" and self.radius > length:
                raise InvalidInput(
                    f"{name} {length}: circular padding of {self.radius} wraps around more than "
                    "once, which PyTorch refuses; use a smaller kernel or a larger image"
                )


def check_whole(name: str, value: int) -> None:
    """Refuse a ``value`` that is not a whole number of at least 1, by its ``name``."""
    if not isinstance(value, int | np.integer) or value < 1:
        raise InvalidInput(f"{name} {value}: must be a whole number, at least 1")


def _append_zero(field: Array) -> Array:
    """``field`` with a last entry 0 along its last axis."""
    return np.concatenate([field, np.zeros((*field.shape[:-1], 1))], axis=-1)


def _mean_cosine(offsets: range, length: int) -> Array:
    angle = 2.0 * np.pi * np.fft.fftfreq(length)
    return np.asarray(np.cos(angle[:, None] * np.array(offsets)).mean(axis=1))
