"""What theory says of an arm before its first step, and what was measured there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefield.pictures.arms import Arm
from sparsefield.theory import FixedPoint, VarianceMap
from sparsefield.theory.winners import WinnersMap
from sparsefield.train import Run, TrainConfig

Array = NDArray[Any]
_TAPS = {"dnn": 1, "cnn": 9}  # fan-in per input unit or channel
_SETTLED = 1e-6  # relative change over the last layer of an orbit that has arrived


def layer_map(config: TrainConfig, *, skip: float | None = None) -> VarianceMap | WinnersMap:
    """V of the layers after the first, at initialisation; ``skip`` in place of the config's.

    PyTorch's default draws weights and biases uniformly with variance 1 / (3 fan_in).
    """
    solved: Any = config.point().variance_map(config.skip if skip is None else skip)
    fan_in = _TAPS[config.network] * config.width
    default = {"sigma_w2": 1 / 3, "sigma_b2": 1 / (3 * fan_in)} if config.init == "torch" else {}
    found: VarianceMap | WinnersMap = replace(solved, **default)
    return found


def fixed_points(arm: Arm) -> tuple[FixedPoint, ...]:
    """The fixed points of :func:`layer_map`.

    For PyTorch's default only the one at which theory's variance has arrived by the last layer.
    """
    if arm.config.init == "eoc":
        return arm.config.point().fixed_points
    orbit = at_start(arm.runs[0], "q_theory")
    if len(orbit) < 2 or abs(orbit[-1] / orbit[-2] - 1) > _SETTLED:
        return ()
    q = float(orbit[-1])
    return (FixedPoint(q, float(layer_map(arm.config).slope(q)), stable=True),)


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
