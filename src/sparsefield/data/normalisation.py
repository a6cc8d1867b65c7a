"""From stored values to network inputs: scaling and normalisation, float32."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsefield.data.dataset import CHUNK, Dataset, Decoded, in_float64
from sparsefield.errors import InvalidInput

Normalise = Literal["both", "channel", "sample", "none"]
Floats = NDArray[np.float64]

PIXELS = (0, 2, 3)  # the axes of [n, C, H, W] that a channel is averaged over


def check_normalise(normalise: str) -> None:
    """Raise :class:`InvalidInput` unless ``normalise`` is one of the four choices."""
    if normalise not in get_args(Normalise):
        choices = ", ".join(get_args(Normalise))
        raise InvalidInput(
            f"normalise={normalise!r} is not a normalisation; choose one of {choices}"
        )


def normalised(decoded: Decoded, normalise: str) -> Dataset:
    """Scale ``decoded`` to [0, 1], normalise it, and return it as a :class:`Dataset`."""
    centre, unit = np.zeros(1), np.array([decoded.scale])
    if normalise in ("channel", "both"):
        # Stored values will do: a common scale drops out of (x - mean) / std.
        centre, unit = channel_statistics(decoded.train_x)
    by_sample = normalise in ("sample", "both")
    return Dataset(
        train_x=inputs(decoded.train_x, centre, unit, by_sample=by_sample),
        train_y=decoded.train_y,
        test_x=inputs(decoded.test_x, centre, unit, by_sample=by_sample),
        test_y=decoded.test_y,
        classes=decoded.classes,
        digest=decoded.digest,
        normalise=normalise,
    )


def inputs(stored: Tensor, centre: Floats, unit: Floats, *, by_sample: bool) -> Tensor:
    """Return (``stored`` - ``centre``) / ``unit`` by channel, then to unit moment by sample."""
    result = torch.empty(stored.shape)
    for target, values in zip(result.split(CHUNK), in_float64(stored), strict=True):
        values -= over_pixels(centre)
        values /= over_pixels(unit)
        if by_sample:
            unit_moment_(values)
        target.numpy()[...] = values
    return result


def channel_statistics(x: Tensor) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each channel of ``x`` [n, C, H, W], float64 [C].

    The standard deviation of a constant channel is given as 1, so that it is only centred.
    """
    count = x.numel() // x.shape[1]
    mean, variance = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for values in in_float64(x):
        mean += values.sum(PIXELS) / count
    for values in in_float64(x):
        values -= over_pixels(mean)
        variance += np.square(values, out=values).sum(PIXELS) / count
    std = np.sqrt(variance)
    # What rounding leaves of a constant channel is no unit to divide by.
    constant = std <= np.finfo(np.float32).eps * np.abs(mean)
    return mean, np.where(constant, 1.0, std)


def unit_moment_(x: Floats) -> None:
    """Divide each sample of ``x`` by its root mean square, in place; a zero sample stays zero."""
    rows = x.reshape(len(x), -1)
    rms = np.sqrt(np.einsum("ni,ni->n", rows, rows) / rows.shape[1])
    rows /= np.where(rms > 0, rms, 1.0)[:, None]


def over_pixels(channels: Floats) -> Floats:
    """View [C] as [C, 1, 1]."""
    return channels[:, None, None]
