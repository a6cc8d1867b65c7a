"""What a sparsity, a variance, chi_1 and a width may be, refused in one line where they are not."""

from __future__ import annotations

import math

from sparsefield.errors import InvalidInput

from .activation import Activation


def check_sparsity(sparsity: float) -> None:
    """A share of exact zeros, neither none nor all."""
    if not 0.0 < sparsity < 1.0:
        raise InvalidInput(
            f"sparsity {sparsity!r}: the share of exact zeros must lie in (0, 1); try 0.9"
        )


def check_variance(q: float) -> None:
    """A variance of pre-activations."""
    if not 0.0 < q < math.inf:
        raise InvalidInput(f"q {q!r}: a variance must be positive and finite; try 1.0")


def check_chi1(chi1: float) -> None:
    """A factor on squared gradients."""
    if not 0.0 < chi1 < math.inf:
        raise InvalidInput(f"chi1 {chi1!r}: must be positive and finite; 1 is the edge of chaos")


def check_count(name: str, value: float) -> None:
    """A width, a depth, a number of draws."""
    if not (1 <= value < math.inf and value == int(value)):
        raise InvalidInput(f"{name} {value}: must be a whole number, at least 1")


def check_alone(phi: Activation) -> None:
    """One activation, not a batch of them."""
    if phi.batch:
        raise InvalidInput(f"a batch of activations of shape {phi.batch}: give one at a time")
