"""What theory expects of every layer before the first step of training."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparsefield.theory import VarianceMap
    from sparsefield.theory.winners import WinnersMap


@dataclass(frozen=True)
class Expectation:
    """Theory's value for each layer, in order: pre-activation variance and share of exact zeros."""

    q: tuple[float, ...]
    sparsity: tuple[float, ...]


def expected(
    variance_map: VarianceMap | WinnersMap,
    q1: float,
    depth: int,
    *,
    without_skip: Collection[int] = (),
) -> Expectation:
    """Iterate the variance map from the first layer's variance through ``depth`` layers.

    Parameters
    ----------
    variance_map
        V of the layers after the first, skip included.
    q1
        Variance of the first layer's pre-activations, in units of q.
    depth
        Number of layers, the first included.
    without_skip
        Layers (from 0) that the skip cannot reach, such as strided ones.

    Source: [DT26] section 2. PyTorch's default initialisation is the map with sigma_w2 = 1/3.
    """
    plain: VarianceMap | WinnersMap = replace(variance_map, skip=0.0)
    q = [q1]
    for layer in range(1, depth):
        q.append(float((plain if layer in without_skip else variance_map)(q[-1])))
    return Expectation(tuple(q), tuple(float(variance_map.sparsity(value)) for value in q))
