"""An edge-of-chaos initialisation, solved and certified."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import gaussian
from .families import family_named
from .fixed_points import FixedPoint
from .maps import VarianceMap
from .piecewise import PiecewiseLinear


@dataclass(frozen=True)
class CriticalPoint:
    """An edge-of-chaos initialisation at a chosen variance and sparsity; :func:`solve` makes it.

    Attributes
    ----------
    family
        ``crelu``, ``cst``, ``relu`` or ``st``.
    sparsity
        s, share of exact zeros after the activation at q*.
    q
        q*, variance of the pre-activations at the fixed point.
    tau, m
        threshold and clip height in the units of the pre-activation; ``m`` is None where
        the family has no clip.
    clip
        m / sqrt(q*).
    sigma_w2, sigma_b2
        weights are N(0, sigma_w2 / fan_in), biases N(0, sigma_b2).
    chi1
        factor on squared gradients per layer.
    slope, curvature
        V'(q*) and V''(q*) (units of 1/q).
    fixed_points
        every fixed point of V, ascending.
    unique
        whether q* is the only one.
    basin
        the variances (low, high) between which V leads to q*.
    """

    family: str
    sparsity: float
    q: float
    tau: float
    m: float | None
    clip: float | None
    sigma_w2: float
    sigma_b2: float
    chi1: float
    slope: float
    curvature: float
    fixed_points: tuple[FixedPoint, ...]
    unique: bool
    basin: tuple[float, float]

    @cached_property
    def phi(self) -> PiecewiseLinear:
        """The activation as data."""
        return family_named(self.family).activation(self.tau, self.m)

    @property
    def second_moment(self) -> float:
        """E[phi^2] at q*, the mean square that the next layer reads."""
        return float(gaussian.second_moment(self.phi, self.q))

    def variance_map(self, skip: float = 0.0) -> VarianceMap:
        """V of a network initialised at this point, with the fixed-point-keeping ``skip``."""
        return VarianceMap(self.phi, self.sigma_w2, self.sigma_b2, skip)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; an endless basin has ``None`` as its end."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields["fixed_points"] = [
            {"q": p.q, "slope": p.slope, "stable": p.stable} for p in self.fixed_points
        ]
        fields["basin"] = [end if math.isfinite(end) else None for end in self.basin]
        return fields

    def __str__(self) -> str:
        rows = [(name, symbol, _show(getattr(self, name))) for name, symbol in _ROWS]
        others = ", ".join(
            f"{p.q:.6g} ({p.kind}{', q*' if p.q == self.q else ''})" for p in self.fixed_points
        )
        rows.append(("fixed_points", "V(q) = q", others))
        rows.append(("basin", "of q*", f"({self.basin[0]:.6g}, {self.basin[1]:.6g})"))
        return "\n".join(f"{name:<13}{symbol:<14}{value}" for name, symbol, value in rows)


_ROWS = (
    ("family", ""),
    ("sparsity", "s"),
    ("q", "q*"),
    ("tau", "tau"),
    ("m", "m"),
    ("clip", "m / sqrt(q*)"),
    ("sigma_w2", "sigma_w^2"),
    ("sigma_b2", "sigma_b^2"),
    ("chi1", "chi_1"),
    ("slope", "V'(q*)"),
    ("curvature", "V''(q*)"),
)


def _show(value: str | float | None) -> str:
    return "none" if value is None else value if isinstance(value, str) else f"{value:.10g}"
