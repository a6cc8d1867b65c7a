"""What a user hands over as a Python function, called and checked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from sparsefield.errors import InvalidInput

from .quadrature import Array

Function = Callable[[Array], Array]


def sorted_kinks(kinks: ArrayLike) -> tuple[float, ...]:
    """The declared kinks, ascending, each once."""
    try:
        at = np.unique(np.atleast_1d(np.asarray(kinks, dtype=float)))
    except (TypeError, ValueError):
        raise InvalidInput(f"kinks {kinks!r}: must be numbers; try kinks=(1.0,)") from None
    if not np.isfinite(at).all():
        raise InvalidInput(f"kinks {at.tolist()}: must be finite; leave out NaN and infinity")
    return tuple(float(k) for k in at)


def quietly(function: Function, x: Array) -> Array:
    """The function's own value, its overflows left to the caller."""
    with np.errstate(all="ignore"):
        return np.asarray(function(x.copy()))


def called(function: Function, name: str, x: Array) -> Array:
    """``function(x)`` in double precision, checked."""
    try:
        out = quietly(function, x)
    except Exception as error:
        raise InvalidInput(
            f"{name} fails on an array of shape {x.shape} ({type(error).__name__}: {error}); it "
            "must work elementwise on numpy arrays: np.vectorize(f, otypes=[float]) makes it so"
        ) from error
    if out.shape != x.shape:
        raise InvalidInput(
            f"{name} returns shape {out.shape} for shape {x.shape}: it must be elementwise; for a "
            "constant return np.full_like(x, c)"
        )
    if out.dtype.kind not in "fiub" or (out.dtype.kind == "f" and out.dtype.itemsize < 8):
        raise InvalidInput(
            f"{name} returns {out.dtype}: moments to 1e-10 need float64; compute it in float64"
        )
    bad = ~np.isfinite(out)
    if bad.any():
        raise InvalidInput(
            f"{name}({x[bad][0]:.9g}) is {out[bad][0]}: must be finite; write it without overflow "
            "(softplus: np.logaddexp(0, x)) or lower q"
        )
    return out.astype(float, copy=False)
