"""The four sparsity-inducing families of [P24] and [DT26] by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erfcinv, erfinv

from sparsefield.errors import InvalidInput

from . import piecewise
from .piecewise import PiecewiseLinear
from .quadrature import Array


@dataclass(frozen=True)
class Family:
    """A named family: how tau (and m) make an activation, and whether both tails are active."""

    name: str
    make: Callable[..., PiecewiseLinear]
    two_sided: bool
    clipped: bool

    def threshold(self, sparsity: ArrayLike) -> Array:
        """The tau / sqrt(q*) that makes the share ``sparsity`` of N(0, 1) inputs exact zeros.

        Relative precision holds up to sparsity = 1 - 1e-16 and near zero: whichever inverse
        error function has its argument exact is used.
        """
        s = np.asarray(sparsity, dtype=float)
        centred = s if self.two_sided else 2.0 * s - 1.0
        above = (1.0 - s) if self.two_sided else 2.0 * (1.0 - s)
        inner = erfinv(np.where(np.abs(centred) < 0.5, centred, 0.0))
        outer = np.where(centred > 0, erfcinv(np.where(centred > 0, above, 1.0)), 0.0)
        below = np.where(centred < 0, -erfcinv(np.where(centred < 0, 2.0 * s, 1.0)), 0.0)
        return np.asarray(np.sqrt(2.0) * np.where(np.abs(centred) < 0.5, inner, outer + below))

    def activation(self, tau: ArrayLike, m: ArrayLike | None) -> PiecewiseLinear:
        """The family's member with threshold ``tau`` and, where clipped, clip height ``m``."""
        return self.make(tau, m) if self.clipped else self.make(tau)


FAMILIES = {
    family.name: family
    for family in (
        Family("crelu", piecewise.crelu, two_sided=False, clipped=True),
        Family("cst", piecewise.cst, two_sided=True, clipped=True),
        Family("relu", piecewise.shifted_relu, two_sided=False, clipped=False),
        Family("st", piecewise.soft_threshold, two_sided=True, clipped=False),
    )
}


def family_named(name: str) -> Family:
    """The family called ``name``.

    Raises
    ------
    InvalidInput
        if there is none.
    """
    if name not in FAMILIES:
        raise InvalidInput(f"family {name!r} is unknown; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]
