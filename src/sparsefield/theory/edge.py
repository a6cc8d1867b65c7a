"""The edge of chaos of any activation: sigma_w2 and sigma_b2 from phi, q* and chi_1."""

from __future__ import annotations

import math

from sparsefield.errors import InvalidInput

from . import gaussian
from .activation import Activation
from .maps import VarianceMap
from .ranges import check_alone, check_chi1, check_variance
from .unsolvable import NegativeBiasVariance, Unstable

_ROUNDING = 1e-12  # of q: sigma_b2 within this of zero is zero


def edge_of_chaos(phi: Activation, q: float, chi1: float = 1.0) -> VarianceMap:
    """The variance map of ``phi`` with V(q) = q and this chi_1.

    sigma_w2 = chi_1 / E[phi'^2] and sigma_b2 = q - sigma_w2 E[phi^2] at ``q``.

    Parameters
    ----------
    phi
        one activation, linear or smooth between its kinks; not a batch.
    q
        q* > 0, variance of the pre-activations.
    chi1
        factor on squared gradients per layer, > 0; 1 is the edge of chaos.

    Raises
    ------
    InvalidInput
        a value outside its range, a batch, or a phi whose E[phi'^2] is zero or infinite (a jump).
    NegativeBiasVariance
        no sigma_b2 >= 0 makes q a fixed point with this chi_1.
    Unstable
        the fixed point repels.

    Source: [P24], [DT26], for any activation.

    >>> from sparsefield.theory import piecewise
    >>> vmap = edge_of_chaos(piecewise.hard_tanh(), 0.25)
    >>> round(float(vmap(0.25)), 12), round(float(vmap.chi1(0.25)), 12)
    (0.25, 1.0)
    """
    check_alone(phi)
    check_variance(q)
    check_chi1(chi1)
    sigma_w2 = chi1 / _finite_gain(phi, q)
    sigma_b2 = q - sigma_w2 * float(gaussian.second_moment(phi, q))
    slope = sigma_w2 * float(gaussian.second_moment_slope(phi, q))
    # q - sigma_b2 and V' are proportional to chi_1
    highest = chi1 * min(q / (q - sigma_b2), 1.0 / abs(slope) if slope != 0.0 else math.inf)
    if sigma_b2 < -_ROUNDING * q:
        raise NegativeBiasVariance(
            f"sigma_b2 = {sigma_b2:.6g} at q = {q:g} and chi1 {chi1:g}: a variance must be >= 0; "
            f"lower chi1 to {highest:.6g} or less, or change q"
        )
    if abs(slope) > 1.0 + 1e-9:
        raise Unstable(
            f"V'(q*) = {slope:.6g} at chi1 {chi1:g}: the fixed point q* = {q:g} repels (abs(V') "
            f"must be at most 1); lower chi1 to {highest:.6g} or less, or clip phi lower"
        )
    return VarianceMap(phi, sigma_w2, sigma_b2 if sigma_b2 > _ROUNDING * q else 0.0)


def _finite_gain(phi: Activation, q: float) -> float:
    """E[phi'^2], which chi_1 divides."""
    gain = float(gaussian.gain(phi, q))
    if math.isinf(gain):
        at = ", ".join(f"{jump.x:g}" for jump in getattr(phi, "jumps", ()))
        raise InvalidInput(
            f"phi jumps at x = {at}: E[phi'^2] and with it chi_1 is infinite for every sigma_w2 > "
            "0, so there is no edge of chaos; replace the jump by a ramp"
        )
    if not gain > 0.0 or math.isinf(1.0 / gain):
        raise InvalidInput(
            f"E[phi'^2] = {gain:g} at q = {q:g}: phi is flat where the pre-activations are, so no "
            "sigma_w2 reaches this chi_1; raise q or move the sloped part nearer to zero"
        )
    return gain
