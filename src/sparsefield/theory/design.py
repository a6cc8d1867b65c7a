"""The two choices that the width makes: the largest safe clip, and the chi_1 of level gradients."""

from __future__ import annotations

import math
from typing import Literal

from sparsefield.errors import InvalidInput

from .edge import edge_of_chaos
from .families import Family, family_named
from .finite_width import linear_std
from .gradients import gradient_rates
from .maps import VarianceMap
from .operator import FLOOR, TransferOperator
from .ranges import check_count
from .roots import bracketed_root
from .unsolvable import NegativeBiasVariance, Unstable

ESCAPE = 0.01  # the chance of leaving [q*/2, 2 q*] that the rule allows
NOISE = 1.0  # variance of a layer's log gradient factor: beyond it the first order says nothing
_SMALLEST, _LARGEST = 0.05, 8.0  # clips, in units of sqrt(q*): below all is linear, above never hit
_GROWTH = 1.2  # step of the search
_TOLERANCE = 1e-3  # relative, of the clip

Chi1 = float | Literal["typical"]


def safe_clip(
    family: str,
    *,
    sparsity: float,
    width: int,
    depth: int,
    chi1: Chi1 = 1.0,
    escape: float = ESCAPE,
) -> float:
    """The largest clip m / sqrt(q*), to 1e-3, whose escape probability stays below ``escape``.

    Every smaller clip is as safe. The chance that Q leaves [q*/2, 2 q*] in one of ``depth`` layers
    of ``width`` units is that of the transfer operator; it does not depend on q* (scale identity).

    Parameters
    ----------
    family
        ``crelu`` or ``cst``.
    sparsity
        s in (0, 1).
    width, depth
        units of a layer (channels of a convolution: its positions help, so this is the careful
        side), and number of layers.
    chi1
        as for :func:`sparsefield.solve`.
    escape
        the chance that is allowed, in (0, 1).

    Raises
    ------
    InvalidInput
        an unclipped family, values out of range, or a width at which no clip is safe.

    Ours: the rule that the reviewers of [P24] asked for.

    >>> round(safe_clip("crelu", sparsity=0.9, width=300, depth=100), 1)
    1.2
    """
    kind = family_named(family)
    _check(kind, sparsity, width, depth, escape)

    def is_safe(clip: float) -> bool:
        try:
            vmap = _edge(kind, sparsity, clip, chi1, width)
        except (NegativeBiasVariance, Unstable):
            return False
        operator = TransferOperator(vmap, 1.0, width=width, tails=escape < FLOOR, ceiling=4.0)
        return bool(operator.escape(depth)[-1] < escape)

    safe = _likely_safe(kind, sparsity, width)
    while not is_safe(safe):
        if safe == _SMALLEST:
            raise InvalidInput(
                f"width {width}, depth {depth}, sparsity {sparsity:g}: even at clip {safe:g} Q "
                f"leaves [q*/2, 2 q*] with a chance of {escape:g} or more; widen the network, "
                "lower the sparsity, or allow a larger escape"
            )
        safe = max(safe / _GROWTH, _SMALLEST)
    while safe < _LARGEST and is_safe(min(safe * _GROWTH, _LARGEST)):
        safe = min(safe * _GROWTH, _LARGEST)
    unsafe = min(safe * _GROWTH, _LARGEST)
    while unsafe > safe * (1.0 + _TOLERANCE):
        middle = math.sqrt(safe * unsafe)
        safe, unsafe = (middle, unsafe) if is_safe(middle) else (safe, middle)
    return safe


def _likely_safe(kind: Family, sparsity: float, width: int) -> float:
    """Where the search begins: q*/2 is six linearised standard deviations of Q."""
    clip = _SMALLEST
    while clip * _GROWTH < _LARGEST:
        try:
            vmap = _edge(kind, sparsity, clip * _GROWTH, 1.0, width)
        except (NegativeBiasVariance, Unstable):
            break
        if linear_std(vmap, 1.0, width) > 1.0 / 12.0:
            break
        clip *= _GROWTH
    return clip


def typical_chi1(family: str, *, sparsity: float, width: int, clip: float | None = None) -> float:
    """The chi_1 at which the typical squared gradient neither grows nor shrinks at this width.

    The factor of a layer fluctuates, so at chi_1 = 1 its logarithm is negative on average: a
    typical network loses its gradients although their mean grows. This chi_1 puts the first order
    in 1 / width of that right (:func:`sparsefield.theory.gradients.gradient_rates`).

    Parameters
    ----------
    family, sparsity, clip
        as for :func:`sparsefield.solve`; ``clip`` for the clipped families only.
    width
        units of a layer.

    Raises
    ------
    InvalidInput
        if no chi_1 with a stable fixed point does it, or the network is too narrow for the
        first order in 1 / width.

    >>> round(typical_chi1("crelu", sparsity=0.9, width=300, clip=1.0), 3)
    1.055
    """
    kind = family_named(family)
    steepest = float(_edge(kind, sparsity, clip, 1.0, width).slope(1.0))
    high = min(0.999 / steepest, 2.0) if steepest > 0.0 else 2.0

    def rate(chi1: float) -> float:
        return gradient_rates(_edge(kind, sparsity, clip, chi1, width), 1.0, width).typical

    at_edge = gradient_rates(_edge(kind, sparsity, clip, 1.0, width), 1.0, width)
    if at_edge.variance > NOISE:
        raise InvalidInput(
            f"width {width} at sparsity {sparsity:g} and clip {clip} is too narrow: a layer's log "
            f"factor on squared gradients has variance {at_edge.variance:.3g}, the first order in "
            f"1 / width holds below {NOISE:g}; widen the network"
        )
    try:
        found = rate(high) > 0.0 > rate(0.5)
    except NegativeBiasVariance:
        found = False
    if not found:
        raise InvalidInput(
            f"width {width} at sparsity {sparsity:g} and clip {clip}: no chi1 from 0.5 to "
            f"{high:.4g} keeps the typical gradient level; widen the network or lower the clip"
        )
    return bracketed_root(rate, 0.5, high, what="chi1 of level typical gradients")


def _edge(kind: Family, sparsity: float, clip: float | None, chi1: Chi1, width: int) -> VarianceMap:
    """The variance map at q* = 1."""
    if chi1 == "typical":
        chi1 = typical_chi1(kind.name, sparsity=sparsity, width=width, clip=clip)
    phi = kind.activation(float(kind.threshold(sparsity)), clip)
    return edge_of_chaos(phi, 1.0, float(chi1))


def _check(kind: Family, sparsity: float, width: int, depth: int, escape: float) -> None:
    if not kind.clipped:
        raise InvalidInput(f"{kind.name} has no clip to choose; use c{kind.name}")
    if not 0.0 < sparsity < 1.0:
        raise InvalidInput(f"sparsity {sparsity!r}: the share must lie in (0, 1); try 0.9")
    if not 0.0 < escape < 1.0:
        raise InvalidInput(f"escape {escape!r}: a probability in (0, 1); try {ESCAPE:g}")
    for name, value in (("width", width), ("depth", depth)):
        check_count(name, value)
