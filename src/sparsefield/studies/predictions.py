"""What theory predicts of a run before it starts: contraction, noise of the gradient, escape."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from sparsefield.errors import SparsefieldError
from sparsefield.theory import VarianceMap
from sparsefield.theory.finite_width import finite_width
from sparsefield.theory.gradients import simulate_gradients
from sparsefield.train import TrainConfig

INPUTS = 0.3  # of two inputs, on average: 0.29 on MNIST, 0.48 on digits, normalised as by default
_DRAWS = 200
_ONE_SD = (0.16, 0.84)  # quantiles of a normal law, one standard deviation from its mean
_OF_THEORY = (
    *("family", "sparsity", "q", "clip", "m", "slope", "chi1"),
    *("width", "depth", "skip", "weights"),
)


def predicted(name: str, config: Mapping[str, Any]) -> float | None:
    """A prediction for a fully connected network of Gaussian weights, at initialisation.

    ``contraction``: 1 - rho_L, what is left to tell two inputs of correlation ``INPUTS`` apart in
    the last hidden layer, by the correlation map at infinite width. ``noise``: how far
    log(|g_1|^2 / |g_L|^2), the growth of squared gradients, lies from network to network: half the
    distance of its 16 % and 84 % quantiles, by the exact law at this width, over 200 networks;
    infinite where no gradient passes in more than 16 % of them. ``escape``: the probability that
    the variance leaves [q*/2, 2 q*]. None for a CNN, top-k, PyTorch's own initialisation, and where
    q* is no stable fixed point.
    """
    if config["network"] != "dnn" or config["init"] != "eoc" or config["family"] == "topk":
        return None
    try:
        return _predicted(name, TrainConfig(**{field: config[field] for field in _OF_THEORY}))
    except SparsefieldError:
        return None


@lru_cache(maxsize=1024)
def _predicted(name: str, config: TrainConfig) -> float:
    point = config.point()
    layers = point.variance_map(skip=config.skip)
    assert isinstance(layers, VarianceMap)  # top-k, which has none, is left out above
    size = {"width": config.width, "depth": config.depth}
    if name == "escape":
        return finite_width(layers, point.q, **size).escape_probability
    if name == "noise":
        growth = simulate_gradients(layers, point.q, **size, draws=_DRAWS)
        return _half_distance(growth[:, 0])
    from_weights = 1.0 - point.sigma_b2 / point.q  # the first layer's bias is the same for both
    deficit = from_weights * (1 - INPUTS)
    return float(layers.correlation(point.q).iterate_deficit(deficit, config.depth)[-1])


def _half_distance(growth: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    known = growth[~np.isnan(growth)]  # NaN: no gradient left the last layer
    if not len(known):
        return float("inf")
    low, high = np.quantile(known, _ONE_SD, method="nearest")  # nearest: no mean with -inf
    return float(high - low) / 2 if np.isfinite(low) else float("inf")
