"""What theory says of an arm before its first step, and what was measured there."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsefield.pictures.arms import Arm
from sparsefield.train import Run, TrainConfig

Array = NDArray[Any]
_TAPS = {"dnn": 1, "cnn": 9}  # fan-in per input unit or channel
_MARGINAL = 1e-6  # of |V'| beside 1
_SETTLED = 1e-6  # relative change over the last layer of an orbit that has arrived


class LayerMap(Protocol):
    """The variance map of a network, as :meth:`CriticalPoint.variance_map` gives it."""

    def __call__(self, q: ArrayLike) -> Array:
        """V(q)."""

    def chi1(self, q: ArrayLike) -> Array:
        """Factor on squared gradients per layer."""


@dataclass(frozen=True)
class Marker:
    """A fixed point of the variance map and what it does to its neighbourhood."""

    q: float
    kind: Literal["stable", "repelling", "marginal"]


def layer_map(config: TrainConfig, *, skip: float | None = None) -> LayerMap:
    """V of the layers after the first, at initialisation; ``skip`` in place of the config's.

    PyTorch's default draws weights and biases uniformly with variance 1 / (3 fan_in).
    """
    solved: Any = config.point().variance_map(config.skip if skip is None else skip)
    if config.init == "eoc":
        found: LayerMap = solved
        return found
    fan_in = _TAPS[config.network] * config.width
    default: LayerMap = replace(solved, sigma_w2=1 / 3, sigma_b2=1 / (3 * fan_in))
    return default


def fixed_points(arm: Arm) -> tuple[Marker, ...]:
    """The fixed points of :func:`layer_map`.

    For PyTorch's default only the one at which theory's variance has arrived by the last layer.
    """
    if arm.config.init == "eoc":
        return tuple(_marker(p.q, p.slope) for p in arm.config.point().fixed_points)
    orbit = at_start(arm.runs[0], "q_theory")
    if len(orbit) < 2 or abs(orbit[-1] / orbit[-2] - 1) > _SETTLED:
        return ()
    return (Marker(float(orbit[-1]), "stable"),)


def at_start(run: Run, column: str) -> Array:
    """A column of the layer measurements before the first step, by layer; empty if not made."""
    values: Array = run.layers[column][run.layers["step"] == 0]
    return values


def gradient_profile(arm: Arm) -> Array:
    """Theory's rms gradient by layer, as a multiple of that at the last layer; shape [depth].

    One layer back, squared gradients change by chi_1(q); a layer that halves the resolution has
    no skip and spreads its gradient over four times as many positions.
    """
    config, q = arm.config, at_start(arm.runs[0], "q_theory")
    if not len(q):
        return q
    factors = layer_map(config).chi1(q[:-1])
    plain = layer_map(config, skip=0.0).chi1(q[:-1]) / 4
    strided = np.isin(np.arange(1, len(q)), config.strides)
    squared = np.cumprod(np.where(strided, plain, factors)[::-1])[::-1]
    profile: Array = np.sqrt(np.append(squared, 1.0))
    return profile


def geometric_mean(rows: list[Array]) -> Array:
    """Over rows (seeds), by column (layers); NaN where a value is not positive."""
    stacked = np.array(rows, dtype=float)
    positive = np.where(stacked > 0, stacked, np.nan)
    mean: Array = np.exp(np.log(positive).mean(axis=0))
    return mean


def _marker(q: float, slope: float) -> Marker:
    if math.isclose(abs(slope), 1.0, abs_tol=_MARGINAL):
        return Marker(q, "marginal")
    return Marker(q, "stable" if abs(slope) < 1 else "repelling")
