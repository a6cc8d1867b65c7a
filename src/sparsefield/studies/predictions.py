"""What theory predicts of a run before it starts: what is left of two inputs, and of a gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sparsefield.theory import VarianceMap
from sparsefield.theory.gradients import simulate_gradients
from sparsefield.train import TrainConfig

INPUTS = 0.3  # of two inputs, on average: 0.29 on MNIST, 0.48 on digits, normalised as by default
_DRAWS = 200
_ONE_SD = (0.16, 0.84)  # quantiles of a normal law, one standard deviation from its mean
_OF_THEORY = (
    *("family", "sparsity", "q", "clip", "m", "slope", "chi1"),
    *("width", "depth", "skip", "weights"),
)


@dataclass(frozen=True)
class Prediction:
    """Of a fully connected network of Gaussian weights, at initialisation.

    Attributes
    ----------
    apart
        1 - rho_L: of two inputs of correlation ``INPUTS``, what is left to tell them apart in the
        last hidden layer, by the correlation map at infinite width.
    noise
        how far log(|g_1|^2 / |g_L|^2), the growth of squared gradients, lies from network to
        network: half the distance of its 16 % and 84 % quantiles, which for a normal law is its
        standard deviation. Infinite where no gradient passes in more than 16 % of networks. From
        the exact law at this width, over 200 networks.
    """

    apart: float
    noise: float


def predicted(config: Mapping[str, Any]) -> Prediction | None:
    """The prediction for a config; None for a CNN, top-k and PyTorch's own initialisation."""
    if config["network"] != "dnn" or config["init"] != "eoc" or config["family"] == "topk":
        return None
    return _predicted(TrainConfig(**{name: config[name] for name in _OF_THEORY}))


@lru_cache(maxsize=512)
def _predicted(config: TrainConfig) -> Prediction:
    point = config.point()
    layers = point.variance_map(skip=config.skip)
    assert isinstance(layers, VarianceMap)  # top-k has no correlation map here
    from_weights = 1.0 - point.sigma_b2 / point.q  # the first layer's bias is the same for both
    apart = layers.correlation(point.q).iterate_deficit(from_weights * (1 - INPUTS), config.depth)
    growth = simulate_gradients(
        layers, point.q, width=config.width, depth=config.depth, draws=_DRAWS
    )
    return Prediction(float(apart[-1]), _half_distance(growth[:, 0]))


def _half_distance(growth: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    known = growth[~np.isnan(growth)]  # NaN: no gradient left the last layer
    if not len(known):
        return float("inf")
    low, high = np.quantile(known, _ONE_SD, method="nearest")  # nearest: no mean with -inf
    return float(high - low) / 2 if np.isfinite(low) else float("inf")
