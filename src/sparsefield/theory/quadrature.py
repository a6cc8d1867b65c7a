"""Gauss-Legendre nodes on one smooth piece, and where a Gaussian tail ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
NODES, WEIGHTS = (NODES + 1.0) / 2.0, WEIGHTS / 2.0
CUT = 45.0  # beyond exp(-45) = 3e-20 of a tail's own height nothing is left in double precision


class Nodes(NamedTuple):
    """Where one piece is sampled: arrays ``[..., N]`` that broadcast together.

    ``weight`` holds the Gaussian density, ``z`` is N(0, 1), ``u`` is phi(sqrt(q) z) / sqrt(q) and
    ``g`` is phi'(sqrt(q) z). Shares and moments are sums of ``weight`` times a function.
    """

    weight: Array
    z: Array
    u: Array
    g: Array


def tail_length(a: ArrayLike) -> Array:
    """The t with a t + t^2 / 2 = CUT: where the density at a + t is nothing beside that at a."""
    a = np.asarray(a, dtype=float)
    return np.asarray(2.0 * CUT / (a + np.hypot(a, np.sqrt(2.0 * CUT))))


def split_rule(panels: int) -> tuple[Array, Array]:
    """Nodes and weights on [0, 1] of the rule repeated on ``panels`` equal panels."""
    if panels == 1:
        return NODES, WEIGHTS
    starts = np.arange(panels)[:, None]
    return ((starts + NODES) / panels).ravel(), np.tile(WEIGHTS / panels, panels)
