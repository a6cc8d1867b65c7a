"""The certificate: what is known at initialisation of a network's variance, with one verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsefield.errors import InvalidInput

from . import gaussian
from .critical import solve
from .finite_width import linear_std
from .fixed_points import FixedPoint, portrait
from .maps import VarianceMap
from .point import CriticalPoint
from .quadrature import Array
from .ranges import check_alone, check_count, check_variance
from .roots import NotConverged
from .unsolvable import MultipleFixedPoints, NegativeBiasVariance, Unstable
from .verdict import Facts

_SPAN = 8.0  # chi_1 is listed from q*/8 to 8 q*, or to the ends of the basin
_SAMPLES = 33
_FIXED = 1e-9  # of q: V(q) this close to q
_CLIPS = np.geomspace(0.05, 8.0, 48)


@dataclass(frozen=True)
class Certificate:
    """What the variance map says of one fixed point; :func:`certify` makes it.

    Attributes
    ----------
    q
        q*, variance of the pre-activations.
    skip
        alpha^2, the share of the variance that the skip carries.
    slope
        V'(q*).
    curvature, relative_curvature
        V''(q*) in units of 1/q, and q* V''(q*), which has none: the scale identity divides the
        first by c^2 and leaves the second.
    kept_above, kept_below
        what one layer leaves of an excess, (V(2 q*) - q*) / q*, and of a deficit,
        (q* - V(q*/2)) / (q*/2). Both are V'(q*) if V is a straight line; above 1 the deviation
        grows.
    asymmetry
        kept_above - kept_below: no unit, zero if V is a straight line, positive if an excess
        stays longer than a deficit.
    chi1
        chi_1(q*), factor on squared gradients per layer.
    chi1_slope, relative_chi1_slope
        d chi_1/dq in units of 1/q, and d log chi_1 / d log q, both at q*.
    chi1_q, chi1_values
        chi_1 over the basin: ascending variances from q*/8 to 8 q*, or to the ends of the basin
        where they are nearer, and chi_1 there.
    fixed_points
        every fixed point of V, ascending.
    basin
        the variances (low, high) from which V leads to q*.
    identity
        whether V(q) = q for every q.
    repelling
        the nearest (by ratio) fixed point that repels, on one side at least, in units of q; q*
        itself if V' >= 1 there; None if no point repels.
    width, q_std
        width of the layers, if given, and the stationary standard deviation of Q at it by
        :func:`sparsefield.theory.finite_width.linear_std`.
    verdict
        ``stable``: the basin holds [q*/2, 2 q*], and a layer takes at least 5 % off a deviation to
        either end. ``fragile``: not so, though q* does not repel. ``unstable``: q* repels.
    reasons
        the verdict's reasons in words, the gravest first.
    """

    q: float
    skip: float
    slope: float
    curvature: float
    relative_curvature: float
    kept_above: float
    kept_below: float
    asymmetry: float
    chi1: float
    chi1_slope: float
    relative_chi1_slope: float
    chi1_q: tuple[float, ...]
    chi1_values: tuple[float, ...]
    fixed_points: tuple[FixedPoint, ...]
    basin: tuple[float, float]
    identity: bool
    repelling: float | None
    width: int | None
    q_std: float | None
    verdict: str
    reasons: tuple[str, ...]
    point: CriticalPoint | None = None

    @property
    def unique(self) -> bool:
        """Whether q* is the only fixed point."""
        return len(self.fixed_points) == 1 and not self.identity

    @property
    def others(self) -> tuple[FixedPoint, ...]:
        """The fixed points beside q*."""
        return tuple(p for p in self.fixed_points if p.q != self.q)

    @property
    def repelling_ratio(self) -> float | None:
        """Distance to the nearest repelling point: its variance over q*."""
        return None if self.repelling is None else self.repelling / self.q

    def require_unique(self) -> Certificate:
        """The same certificate, if q* is the only fixed point.

        Raises
        ------
        MultipleFixedPoints
            if it is not; the error names the others and, for a clipped family, the largest clip
            that has none.
        """
        if self.unique:
            return self
        raise MultipleFixedPoints(f"{self._company()}; {_remedy(self.point)}")

    def _company(self) -> str:
        if self.identity:
            return f"every variance is a fixed point, q* = {self.q:g} among them: it must be alone"
        others = ", ".join(f"{p.q:.6g} ({p.kind})" for p in self.others)
        return f"V(q) = q at {others} beside q* = {self.q:g}: it must be alone"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for strict JSON; endless and infinite values are ``None``."""
        fields = {n: getattr(self, n) for n in self.__dataclass_fields__ if n != "point"}
        fields["unique"], fields["repelling_ratio"] = self.unique, self.repelling_ratio
        fields["fixed_points"] = [p.to_dict() for p in self.fixed_points]
        return {name: _plain(value) for name, value in fields.items()}

    def __str__(self) -> str:
        rows = [f"{name:<14}{symbol:<14}{value}" for name, symbol, value in _rows(self)]
        return "\n".join([*rows, *(f"{'':<28}{reason}" for reason in self.reasons)])


def certify(point: CriticalPoint, skip: float = 0.0, width: int | None = None) -> Certificate:
    """The certificate of a solved initialisation.

    Parameters
    ----------
    point
        from :func:`solve`.
    skip
        alpha^2 in [0, 1): fixed points stay, slopes move towards 1.
    width
        units per layer, >= 1: for ``stable`` the edges of the basin and of [q*/2, 2 q*] must then
        lie 3.5 standard deviations of Q away. (Measured on CReLU at s = 0.8 and 0.9: with that
        at most 0.3 % of networks escape in 100 layers.) Only without a skip.

    Raises
    ------
    InvalidInput
        a skip or width outside its range, or both.

    >>> from sparsefield.theory import solve
    >>> certify(solve("crelu", sparsity=0.9, clip=1.0)).verdict
    'stable'
    >>> print(certify(solve("crelu", sparsity=0.9, clip=2.0)).reasons[0])
    a repelling fixed point at 1.083 q* is within a factor 2 of q*
    """
    return _certificate(point.variance_map(skip), point.q, width, point)


def certify_map(vmap: VarianceMap, q: float, width: int | None = None) -> Certificate:
    """The certificate of any variance map at its fixed point ``q``, whatever the activation.

    Raises
    ------
    InvalidInput
        if V(q) is not q, or as for :func:`certify`.

    >>> from sparsefield.theory import piecewise
    >>> print(certify_map(VarianceMap(piecewise.relu(), 2.0, 0.0), 1.0).reasons[0])
    V(q) = q for every q: no variance is kept, none is restored
    """
    return _certificate(vmap, q, width, None)


def largest_unique_clip(family: str, *, sparsity: float, chi1: float = 1.0) -> float | None:
    """The clip (m / sqrt(q*)) up to which q* is the only fixed point, to 1e-3 relative.

    None where no clip from 0.05 to 8 has another fixed point, or every one that can be solved for.

    >>> round(largest_unique_clip("crelu", sparsity=0.9), 2)
    1.52
    """

    def alone(clip: float) -> bool | None:
        try:
            return solve(family, sparsity=sparsity, clip=clip, chi1=chi1).unique
        except (NegativeBiasVariance, Unstable, NotConverged):
            return None

    known = [(clip, answer) for clip in _CLIPS if (answer := alone(float(clip))) is not None]
    first = next((i for i, (_, answer) in enumerate(known) if not answer), 0)
    if first == 0:
        return None
    low, high = float(known[first - 1][0]), float(known[first][0])
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if alone(middle) else (low, middle)
    return low


def _certificate(
    vmap: VarianceMap, q: float, width: int | None, point: CriticalPoint | None
) -> Certificate:
    _check(vmap, q, width)
    found = portrait(vmap, q)
    over, chi1 = _over_basin(vmap, q, found.basin)
    bend, tilt, here = float(vmap.curvature(q)), _chi1_slope(vmap, q), float(vmap.chi1(q))
    above, below = float(vmap(2.0 * q)) / q - 1.0, 2.0 - 2.0 * float(vmap(0.5 * q)) / q
    slope = next(p.slope for p in found.points if p.q == q)
    q_std = None if width is None else linear_std(vmap, q, width)
    facts = Facts(q, vmap.skip, slope, above, below, here, found, q_std)
    verdict, reasons = facts.judge()
    return Certificate(
        q=q,
        skip=vmap.skip,
        slope=slope,
        curvature=bend,
        relative_curvature=q * bend,
        kept_above=above,
        kept_below=below,
        asymmetry=above - below,
        chi1=here,
        chi1_slope=tilt,
        relative_chi1_slope=q * tilt / here if here > 0.0 else 0.0,
        chi1_q=tuple(over.tolist()),
        chi1_values=tuple(chi1.tolist()),
        fixed_points=found.points,
        basin=found.basin,
        identity=found.identity,
        repelling=facts.repelling,
        width=width,
        q_std=q_std,
        verdict=verdict,
        reasons=reasons,
        point=point,
    )


def _check(vmap: VarianceMap, q: float, width: int | None) -> None:
    check_alone(vmap.phi)
    check_variance(q)
    after = float(vmap(q))
    if abs(after - q) > _FIXED * q:
        raise InvalidInput(
            f"V({q:g}) = {after:.9g}: q must be a fixed point of V; iterate V from q, or set "
            "sigma_w2 and sigma_b2 by edge_of_chaos"
        )
    if width is not None:
        check_count("width", width)
    if width is not None and vmap.skip > 0.0:
        raise InvalidInput(
            f"width {width} with skip {vmap.skip:g}: the spread at finite width is known for skip "
            "0 only; leave out one of them"
        )


def _over_basin(vmap: VarianceMap, q: float, basin: tuple[float, float]) -> tuple[Array, Array]:
    """Variances across the basin, q* among them, and chi_1 there."""
    low, high = max(basin[0], q / _SPAN), min(basin[1], q * _SPAN)
    below = np.geomspace(low, q, _SAMPLES // 2 + 1)[:-1] if low < q else np.empty(0)
    above = np.geomspace(q, high, _SAMPLES // 2 + 1)[1:] if high > q else np.empty(0)
    over = np.concatenate([below, [q], above])
    return over, vmap.chi1(over)


def _chi1_slope(vmap: VarianceMap, q: float) -> float:
    """d chi_1/dq = sigma_w2 E[phi'^2 (z^2 - 1)] / (2 q): the heat equation of the Gaussian."""
    moment = gaussian.expectation(vmap.phi, q, lambda z, u, g: g * g * (z * z - 1.0))
    return float((1.0 - vmap.skip) * vmap.sigma_w2 * moment / (2.0 * q))


def _remedy(point: CriticalPoint | None) -> str:
    if point is None:
        return "clip phi lower, or lower sigma_w2 and raise sigma_b2"
    if point.clip is None:
        return f"use c{point.family} with a clip"
    clip = largest_unique_clip(point.family, sparsity=point.sparsity, chi1=point.chi1)
    largest = "" if clip is None else f" to {clip:.3g} or less"
    return f"lower the clip {point.clip:g}{largest}"


def _rows(c: Certificate) -> Iterator[tuple[str, str, str]]:
    yield "q", "q*", f"{c.q:.6g}"
    if c.skip:
        yield "skip", "alpha^2", f"{c.skip:.6g}"
    yield "slope", "V'(q*)", f"{c.slope:.6g}"
    yield "curvature", "V''(q*)", f"{c.curvature:.4g}  (q* V'' = {c.relative_curvature:.4g})"
    yield (
        "asymmetry",
        "kept a layer",
        f"{c.asymmetry:.4g}  ({c.kept_above:.4g} from 2 q*, {c.kept_below:.4g} from q*/2)",
    )
    yield (
        "chi1",
        "chi_1(q*)",
        f"{c.chi1:.6g}  (log-slope {c.relative_chi1_slope:.4g}, slope {c.chi1_slope:.4g})",
    )
    yield (
        "over basin",
        "chi_1(q)",
        f"{min(c.chi1_values):.4g} to {max(c.chi1_values):.4g} for q from {c.chi1_q[0]:.4g} to "
        f"{c.chi1_q[-1]:.4g}",
    )
    points = ", ".join(f"{p.q:.6g} ({p.kind}{', q*' * (p.q == c.q)})" for p in c.fixed_points)
    yield "fixed points", "V(q) = q", "every q" if c.identity else points
    yield "basin", "of q*", f"({c.basin[0]:.6g}, {c.basin[1]:.6g})"
    near = "none" if c.repelling is None else f"{c.repelling:.6g}  ({c.repelling_ratio:.4g} q*)"
    yield "repelling", "nearest", "q* itself" if c.repelling == c.q else near
    if c.q_std is not None:
        yield "spread", f"std(Q), {c.width}", f"{c.q_std:.4g}  ({c.q_std / c.q:.4g} q*)"
    yield "verdict", "", c.verdict


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
