"""The inverse problem: from a target sparsity and variance to an edge-of-chaos initialisation."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from sparsefield.errors import InvalidInput

from . import gaussian
from .design import ESCAPE, safe_clip, typical_chi1
from .families import Family, family_named
from .fixed_points import FixedPoint, portrait
from .maps import VarianceMap
from .piecewise import PiecewiseLinear
from .point import CriticalPoint
from .ranges import check_chi1, check_sparsity, check_variance
from .roots import bracketed_root
from .unsolvable import NegativeBiasVariance, Unstable

_ROUNDING = 1e-13  # of q: sigma_b2 within this of zero is zero
_NEVER_HIT = 1e100
_CLIPS = np.geomspace(1e-13, 60.0, 160)  # clip heights in units of sqrt(q), from dust to never hit


def solve(
    family: str,
    *,
    sparsity: float,
    q: float = 1.0,
    clip: float | Literal["auto"] | None = None,
    m: float | None = None,
    slope: float | None = None,
    chi1: float | Literal["typical"] = 1.0,
    width: int | None = None,
    depth: int | None = None,
    escape: float = ESCAPE,
) -> CriticalPoint:
    """The initialisation whose variance map fixes ``q`` at this sparsity, with this chi_1.

    Parameters
    ----------
    family
        ``crelu`` or ``cst``, which need exactly one of ``clip``, ``m`` and ``slope``;
        ``relu`` (shifted) or ``st``, which take none.
    sparsity
        s in (0, 1), share of exact zeros at the fixed point.
    q
        q* > 0, variance of the pre-activations.
    clip
        m / sqrt(q*) > 0; ``auto``: the largest one that is safe at this ``width`` and ``depth``
        (:func:`sparsefield.theory.design.safe_clip`).
    m
        clip height > 0 in the units of the pre-activation.
    slope
        V'(q*), from which the clip is found; below ``chi1``.
    chi1
        factor on squared gradients per layer; 1 is the edge of chaos; ``typical``: the one that
        keeps the typical gradient of a network of this ``width`` level
        (:func:`sparsefield.theory.design.typical_chi1`).
    width, depth
        units and number of the hidden layers, for ``auto`` and ``typical``; unused otherwise.
    escape
        chance of leaving [q*/2, 2 q*] that ``auto`` allows.

    Raises
    ------
    InvalidInput
        a value outside its range, or none or two of clip, m and slope.
    NegativeBiasVariance
        no sigma_b2 >= 0 makes q a fixed point with this chi_1.
    Unstable
        the fixed point repels.
    NotConverged
        a root was not found to full precision.

    Source: [P24] and [DT26], edge of chaos for CReLU and CST; delta terms as in
    :mod:`sparsefield.theory.gaussian`.

    >>> point = solve("crelu", sparsity=0.9, q=1.0, clip=1.0)
    >>> round(point.sigma_w2, 3), round(point.sigma_b2, 3), round(point.slope, 3), point.unique
    (11.269, 0.671, 0.667, True)
    """
    kind = family_named(family)
    sparsity, q = _number("sparsity", sparsity), _number("q", q)
    m, slope = _optional("m", m), _optional("slope", slope)
    if clip == "auto":
        size = _size_for_auto(m=m, slope=slope, width=width, depth=depth)
        clip = safe_clip(family, sparsity=sparsity, **size, chi1=chi1, escape=escape)
    clip = _optional("clip", clip)
    if chi1 == "typical":
        chi1 = _typical(kind, sparsity, q, clip=clip, m=m, slope=slope, width=width)
    chi1 = _number("chi1", chi1)
    check_sparsity(sparsity)
    check_variance(q)
    check_chi1(chi1)
    _check_clip(kind, clip=clip, m=m, slope=slope)
    threshold = float(kind.threshold(sparsity))
    if slope is not None:
        clip = _clip_for_slope(kind, threshold, slope, chi1)
    elif m is not None:
        clip = m / math.sqrt(q)
    _check_reached(clip)
    unit = kind.activation(threshold, clip)  # solved at q = 1, then scaled: the scale identity
    sigma_w2 = _weight_variance(unit, chi1, sparsity=sparsity, clip=clip)
    sigma_b2 = _bias_variance(kind, unit, sigma_w2, sparsity=sparsity, q=q, chi1=chi1)
    return _certified(
        kind,
        unit,
        threshold=threshold,
        clip=clip,
        m=m,
        sigma_w2=sigma_w2,
        sigma_b2=sigma_b2,
        sparsity=sparsity,
        q=q,
        chi1=chi1,
    )


def _weight_variance(
    unit: PiecewiseLinear, chi1: float, *, sparsity: float, clip: float | None
) -> float:
    """sigma_w2 = chi_1 / E[phi'^2]."""
    gain = float(gaussian.gain(unit, 1.0))
    sigma_w2 = chi1 / gain if gain > 0.0 else math.inf
    if not math.isfinite(sigma_w2):
        raise InvalidInput(
            f"sparsity {sparsity:.17g} with clip {clip}: the active share underflows; "
            "lower the sparsity or raise the clip"
        )
    return sigma_w2


def _certified(
    kind: Family,
    unit: PiecewiseLinear,
    *,
    threshold: float,
    clip: float | None,
    m: float | None,
    sigma_w2: float,
    sigma_b2: float,
    sparsity: float,
    q: float,
    chi1: float,
) -> CriticalPoint:
    """The point at q = 1 with its fixed points, scaled to ``q``."""
    vmap = VarianceMap(unit, sigma_w2, sigma_b2)
    slope = float(vmap.slope(1.0))
    if abs(slope) > 1.0 + 1e-9:
        raise Unstable(
            f"V'(q*) = {slope:.6g} at chi1 {chi1:g}: the fixed point q* = {q:g} repels "
            f"(|V'| must be at most 1); lower {'the clip or ' if kind.clipped else ''}chi1"
        )
    found = portrait(vmap, 1.0)
    root_q = math.sqrt(q)
    return CriticalPoint(
        family=kind.name,
        sparsity=float(sparsity),
        q=float(q),
        tau=threshold * root_q,
        m=None if clip is None else clip * root_q if m is None else float(m),
        clip=None if clip is None else float(clip),
        sigma_w2=sigma_w2,
        sigma_b2=sigma_b2 * q,
        chi1=float(chi1),
        slope=slope,
        curvature=float(vmap.curvature(1.0)) / q,
        fixed_points=tuple(FixedPoint(p.q * q, p.slope, p.stable) for p in found.points),
        unique=found.unique,
        basin=(found.basin[0] * q, found.basin[1] * q),
    )


def _bias_variance(
    kind: Family,
    unit: PiecewiseLinear,
    sigma_w2: float,
    *,
    sparsity: float,
    q: float,
    chi1: float,
) -> float:
    """sigma_b2 / q that closes V(1) = 1."""
    sigma_b2 = 1.0 - sigma_w2 * float(gaussian.second_moment(unit, 1.0))
    if sigma_b2 < -_ROUNDING:
        raise NegativeBiasVariance(
            f"sigma_b2 = {sigma_b2 * q:.6g} for {kind.name} at sparsity {sparsity:g}, "
            f"chi1 {chi1:g}: a variance must be >= 0; raise the sparsity, or lower "
            f"chi1{' or the clip' if kind.clipped else ''}"
        )
    return 0.0 if sigma_b2 < _ROUNDING else sigma_b2


def _clip_for_slope(kind: Family, threshold: float, slope: float, chi1: float) -> float:
    """The clip with V'(q*) = slope; the larger one where two fit."""

    def ratio(clip: Any) -> Any:
        phi = kind.activation(threshold, clip)
        return gaussian.second_moment_slope(phi, 1.0) / gaussian.gain(phi, 1.0)

    ratios = ratio(_CLIPS)
    lowest = int(np.argmin(ratios))
    target = slope / chi1
    if not ratios[lowest] < target < ratios[-1]:
        raise InvalidInput(
            f"slope {slope:g}: V'(q*) lies between {chi1 * ratios[lowest]:.6g} and "
            f"chi1 = {chi1:g} for {kind.name} at this sparsity; choose one inside"
        )
    above = lowest + int(np.argmax(ratios[lowest:] > target))
    return bracketed_root(
        lambda clip: float(ratio(clip)) - target,
        float(_CLIPS[above - 1]),
        float(_CLIPS[above]),
        what="clip for the slope",
    )


def _size_for_auto(
    *, m: float | None, slope: float | None, width: int | None, depth: int | None
) -> dict[str, int]:
    """Width and depth, which the safe clip needs."""
    for name, value in (("m", m), ("slope", slope)):
        if value is not None:
            raise InvalidInput(f"clip auto and {name} {value:g} given: leave one out")
    if width is None or depth is None:
        missing = "width" if width is None else "depth"
        raise InvalidInput(f"clip auto without {missing}: the safe clip depends on it; give it")
    return {"width": width, "depth": depth}


def _typical(
    kind: Family,
    sparsity: float,
    q: float,
    *,
    clip: float | None,
    m: float | None,
    slope: float | None,
    width: int | None,
) -> float:
    """The chi_1 of level typical gradients, at a clip that does not depend on chi_1."""
    if width is None:
        raise InvalidInput("chi1 typical without width: it depends on the width; give it")
    if slope is not None:
        raise InvalidInput(f"chi1 typical and slope {slope:g}: give clip or m in place of slope")
    check_sparsity(sparsity)
    check_variance(q)
    _check_clip(kind, clip=clip, m=m)
    height = clip if m is None else m / math.sqrt(q)
    return typical_chi1(kind.name, sparsity=sparsity, width=width, clip=height)


def _number(name: str, value: Any) -> float:
    """A Python float: numpy's narrower ones would carry their precision along."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InvalidInput(f"{name} {value!r}: must be one real number") from None


def _optional(name: str, value: Any) -> float | None:
    return None if value is None else _number(name, value)


def _check_reached(clip: float | None) -> None:
    if clip is not None and clip > _NEVER_HIT:
        raise InvalidInput(
            f"clip {clip:g} (m / sqrt(q)): beyond {_NEVER_HIT:g} no pre-activation ever reaches "
            "it; use the unclipped family, or a smaller clip"
        )


def _check_clip(kind: Family, **given: float | None) -> None:
    """Exactly one of clip, m and slope for the clipped families, none for the others."""
    set_ones = {name: value for name, value in given.items() if value is not None}
    listed = " and ".join(f"{name} {value:g}" for name, value in set_ones.items()) or "nothing"
    if not kind.clipped and set_ones:
        raise InvalidInput(
            f"{listed} given for {kind.name}, which has no clip; leave it out, or use c{kind.name}"
        )
    if kind.clipped and len(set_ones) != 1:
        raise InvalidInput(
            f"{listed} given for {kind.name}: give exactly one of clip, m and slope; try clip 1.0"
        )
    for name, value in set_ones.items():
        if not math.isfinite(value):
            raise InvalidInput(f"{name} {value!r}: must be finite; try clip 1.0")
        if name != "slope" and value <= 0.0:
            raise InvalidInput(f"{name} {value!r}: must be positive; try clip 1.0")
