"""A bracketed root, or an error: never an unconverged number."""

from __future__ import annotations

from collections.abc import Callable

from scipy.optimize import brentq

from sparsefield.errors import SparsefieldError


class NotConverged(SparsefieldError):
    """A solver stopped before its tolerance."""


def bracketed_root(
    f: Callable[[float], float], low: float, high: float, *, what: str, max_iter: int = 200
) -> float:
    """The root of ``f`` in [low, high], to the last few bits (Brent's method).

    Parameters
    ----------
    f
        continuous, of opposite signs at ``low`` and ``high``.
    what
        named in the error.

    Raises
    ------
    NotConverged
        if ``max_iter`` steps do not reach the tolerance.
    """
    ends = f(low), f(high)
    if ends[0] * ends[1] > 0.0:
        raise NotConverged(
            f"{what}: no sign change between {low:.6g} and {high:.6g} (values {ends[0]:.3g} and "
            f"{ends[1]:.3g}); the map is flat to rounding there, move the parameters away from it"
        )
    root, report = brentq(
        f, low, high, xtol=1e-300, rtol=1e-15, maxiter=max_iter, full_output=True, disp=False
    )
    if not report.converged:
        raise NotConverged(
            f"{what}: not converged in [{low:.6g}, {high:.6g}] after {max_iter} steps; "
            "move the parameters away from the edge of what double precision resolves"
        )
    return float(root)
