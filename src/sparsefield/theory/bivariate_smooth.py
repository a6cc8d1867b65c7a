"""Gaussian moments of two correlated pre-activations for any activation, by nested quadrature.

x and y are a common part and a difference, independent normals: x, y = sqrt(q) (p u +- r v) with
2 p^2 = 1 + rho and 2 r^2 = 1 - rho. The outer integral runs over the narrower of the two, the inner
one over the wider, each cut wherever a kink of phi(x) or phi(y) passes, so both integrands are
smooth on every piece at any correlation. Panels are doubled until the value stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sparsefield.errors import InvalidInput

from .activation import Activation
from .quadrature import Array, split_rule
from .roots import NotConverged

_REACH = 9.5  # standard deviations beyond which a normal has nothing left in double precision
_PANELS = (2, 4, 8, 16, 32)
_RTOL = 1e-11

Joint = Callable[[Array, Array], Array]


def product(phi: Activation) -> Joint:
    """phi(x) phi(y)."""
    return lambda x, y: phi(x) * phi(y)


def slope_product(phi: Activation) -> Joint:
    """phi'(x) phi'(y).

    Raises
    ------
    InvalidInput
        if phi jumps: its derivative holds a delta there.
    """
    jumps = [at for at, change in phi.kinks if math.isinf(change)]
    if jumps:
        raise InvalidInput(
            f"phi jumps at x = {jumps[0]:g}: E[phi'(x) phi'(y)] is infinite at rho = 1; "
            "replace the jump by a steep ramp"
        )
    return lambda x, y: phi.derivative(x) * phi.derivative(y)


def half_square(phi: Activation) -> Joint:
    """(phi(x) - phi(y))^2 / 2."""
    return lambda x, y: 0.5 * (phi(x) - phi(y)) ** 2


def expectations(phi: Activation, f: Joint, q1: Array, q2: Array, delta: Array) -> Array:
    """E[f(x, y)] for variances q1, q2 and correlation 1 - delta, elementwise.

    Raises
    ------
    NotConverged
        if doubling the panels does not settle the value to 1e-11.
    """
    values = [_settled(phi, f, *map(float, e)) for e in zip(q1, q2, delta, strict=True)]
    return np.array(values)


def _settled(phi: Activation, f: Joint, q1: float, q2: float, delta: float) -> float:
    last, tolerance = math.nan, _RTOL + _rounding(phi)
    for panels in _PANELS:
        value, size = _nested(phi, f, (math.sqrt(q1), math.sqrt(q2)), delta, panels)
        if abs(value - last) <= tolerance * size:
            return value
        last = value
    raise NotConverged(
        f"moment of {phi!r} at q {q1:g} and {q2:g}, 1 - rho = {delta:g}: not settled to 1e-11 with "
        f"{_PANELS[-1]} panels; lower q, or declare more kinks"
    )


def _rounding(phi: Activation) -> float:
    """Relative error of phi between its two nearest kinks, where x less a kink loses digits."""
    kinks = np.array([at for at, _ in phi.kinks])
    gaps = np.diff(kinks)
    return 4e-16 * float(np.abs(kinks).max(initial=0.0) / gaps.min(initial=math.inf))


def _nested(
    phi: Activation, f: Joint, std: tuple[float, float], delta: float, panels: int
) -> tuple[float, float]:
    """E[f] and E[abs(f)] with so many panels between neighbouring cuts."""
    common, apart = math.sqrt(1.0 - 0.5 * delta), math.sqrt(0.5 * delta)
    alike = common >= apart  # the wider part moves x and y alike, or apart
    wide, narrow = (common, apart) if alike else (apart, common)
    kinks = np.array([at for at, _ in phi.kinks])
    a, b = kinks / std[0], (kinks / std[1]) * (1.0 if alike else -1.0)
    crossings = np.subtract.outer(a, b).ravel() / (2.0 * narrow) if narrow > 0.0 else np.zeros(0)
    outer, outer_weight = _rule(crossings[None], panels)
    n = outer[0][:, None]
    inner, inner_weight = _rule(np.concatenate([a - narrow * n, b + narrow * n], 1) / wide, panels)
    x = std[0] * (wide * inner + narrow * n)
    y = std[1] * (wide * inner - narrow * n) * (1.0 if alike else -1.0)
    weighted = outer_weight[0] * (inner_weight * np.stack([g := f(x, y), np.abs(g)])).sum(-1)
    value, size = weighted.sum(-1)
    return float(value), float(size)


def _rule(cuts: Array, panels: int) -> tuple[Array, Array]:
    """Nodes and Gaussian weights between the cuts of each row, [rows, nodes]."""
    ends = np.full((len(cuts), 1), _REACH)
    middle = np.zeros((len(cuts), 1))
    edges = np.sort(np.concatenate([-ends, np.clip(cuts, -_REACH, _REACH), middle, ends], 1), 1)
    nodes, weights = split_rule(panels)
    length = np.diff(edges, axis=1)[..., None]
    z = (edges[:, :-1, None] + length * nodes).reshape(len(cuts), -1)
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return z, (length * weights).reshape(z.shape) * density
