"""What theory expects of every layer before the first step of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparsefield.theory import VarianceMap


@dataclass(frozen=True)
class Expectation:
    """Theory's value for each layer, in order: pre-activation variance and share of exact zeros."""

    q: tuple[float, ...]
    sparsity: tuple[float, ...]


def expected(variance_map: VarianceMap, q1: float, depth: int) -> Expectation:
    """Iterate the variance map from the first layer's variance through ``depth`` layers.

    Parameters
    ----------
    variance_map
        V of the layers after the first, skip included.
    q1
        Variance of the first layer's pre-activations, in units of q.
    depth
        Number of layers, the first included.

    Source: [DT26] section 2. PyTorch's default initialisation is the map with sigma_w2 = 1/3.
    """
    q = variance_map.iterate(q1, depth)
    sparsity = [float(variance_map.sparsity(value)) for value in q]
    return Expectation(tuple(float(value) for value in q), tuple(sparsity))
