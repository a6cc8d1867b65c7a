"""From a solved point to the module of its activation."""

from __future__ import annotations

from collections.abc import Callable

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
