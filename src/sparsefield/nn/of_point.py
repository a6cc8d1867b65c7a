"""From a solved point to the module of its activation."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from sparsefield.theory import CriticalPoint, Point

from .activations import CST, Activation, CReLU, ShiftedReLU, SoftThreshold
from .topk import TopK

_MODULES: dict[str, Callable[..., Activation]] = {
    "crelu": CReLU,
    "cst": CST,
    "relu": ShiftedReLU,
    "st": SoftThreshold,
}


def activation(point: Point) -> Activation:
    """A new module with the activation of ``point``."""
    if not isinstance(point, CriticalPoint):
        return TopK(point.sparsity)
    arguments = (point.tau,) if point.m is None else (point.tau, point.m)
    return _MODULES[point.family](*arguments)


def same(one: nn.Module, other: Activation) -> bool:
    """Whether two activations are one function."""
    if not isinstance(one, Activation) or type(one) is not type(other):
        return False
    pairs = zip(one.constants.values(), other.constants.values(), strict=True)
    return all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) for a, b in pairs)
