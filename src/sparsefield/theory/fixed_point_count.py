"""How many fixed points the variance map has, for every point of a grid at once.

:func:`sparsefield.theory.fixed_points.portrait` finds each of them to full precision for one map.
Here V(q) - q is evaluated in closed form on a logarithmic grid of q for a block of maps, and its
sign changes are counted; a turning point between three nodes is tried with a parabola, so that a
close pair inside a cell counts as well.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from .closed_form import EdgeGrid, edge_grid
from .families import Family, family_named
from .fixed_points import portrait
from .maps import VarianceMap
from .quadrature import Array

_BELOW = np.linspace(0.0, 1.0, 64, endpoint=False)  # between the least possible q and q*
_ABOVE = np.linspace(1.0, 0.0, 128, endpoint=False)[::-1]  # between q* and the largest
_BESIDE = 1e-5  # relative distance from q* at which the Taylor series replaces V
_STEEP = 1e9  # sigma_w2 beyond which V(q) - q far above q* is rounding; one map at a time there
_MARGIN = 1e-9  # V' this close to chi_1 counts as chi_1
_BLOCK = 256  # maps at a time


def count_fixed_points(
    family: str, sparsity: ArrayLike, clip: ArrayLike | None = None, *, chi1: float = 1.0
) -> NDArray[np.int64]:
    """The number of q with V(q) = q, q* included; 0 where sigma_b2 < 0, -1 where V is the identity.

    Arguments and errors as for :func:`~sparsefield.theory.closed_form.edge_grid`; by the scale
    identity q* has no say. A pair that has just met (within about 1e-3 of that clip) may be
    counted as none.

    >>> count_fixed_points("crelu", 0.9, [1.0, 1.5, 2.0])
    array([1, 1, 3])
    """
    kind = family_named(family)
    edge = edge_grid(family, sparsity, clip, chi1=chi1)
    shape = edge.slope.shape
    heights = np.broadcast_to(np.inf if clip is None else np.asarray(clip, float), shape).ravel()
    flat = {name: getattr(edge, name).ravel() for name in EdgeGrid.__dataclass_fields__}
    found = np.zeros(heights.size, dtype=np.int64)
    exists = np.flatnonzero(flat["sigma_b2"] >= 0.0)
    for part in np.array_split(exists, max(1, math.ceil(exists.size / _BLOCK))):
        block = EdgeGrid(**{name: values[part] for name, values in flat.items()})
        found[part] = _counted(kind, block, heights[part], chi1)
    return found.reshape(shape)


def _counted(kind: Family, edge: EdgeGrid, m: Array, chi1: float) -> NDArray[np.int64]:
    if not kind.clipped:
        return _unclipped(kind, edge, chi1)
    found = _scanned(kind, edge, m)
    for i in np.flatnonzero(edge.sigma_w2 > _STEEP):
        vmap = VarianceMap(kind.activation(edge.tau[i], m[i]), edge.sigma_w2[i], edge.sigma_b2[i])
        found[i] = len(portrait(vmap, 1.0).points)
    return found


def _unclipped(kind: Family, edge: EdgeGrid, chi1: float) -> NDArray[np.int64]:
    """V is convex for tau > 0, concave for tau < 0, linear for tau = 0."""
    rise = edge.sigma_w2 * (1.0 if kind.two_sided else 0.5)  # V(q) / q at infinity
    convex, level = edge.tau > 0.0, abs(chi1 - 1.0) < _MARGIN
    twice = convex & (not level) & ((chi1 > 1.0) | (rise > 1.0))
    identity = level & (edge.tau == 0.0)
    return np.where(identity, -1, np.where(twice, 2, 1))


def _scanned(kind: Family, edge: EdgeGrid, m: Array) -> NDArray[np.int64]:
    """Sign changes of V(q) / q - 1 below, in the cell of, and above q* = 1."""
    below, above = (_excess(kind, edge, m, q) for q in _grids(edge, m))
    step = np.array([-_BESIDE, _BESIDE])
    tilt, bend = (edge.slope - 1.0)[:, None], edge.curvature[:, None]
    home = tilt * step + 0.5 * bend * step**2
    pair = np.where(home[:, 0] * home[:, 1] < 0.0, 0, 1)  # q* and a partner in one cell
    whole = np.concatenate([below, home, above], axis=1)
    changes = (whole[:, :-1] * whole[:, 1:] < 0.0).sum(axis=1)
    return np.asarray(changes + 2 * (pair + _dips(below) + _dips(above)))


def _grids(edge: EdgeGrid, m: Array) -> tuple[Array, Array]:
    """Every fixed point has sigma_b2 <= q <= sigma_b2 + sigma_w2 m^2, for abs(phi) <= m."""
    least = 1e-2 * np.minimum(1.0, m * m)  # where sigma_b2 = 0
    low = np.where(edge.sigma_b2 > 0.0, edge.sigma_b2 * (1.0 - 1e-12), least)
    high = np.maximum(4.0, (edge.sigma_b2 + edge.sigma_w2 * m * m) * (1.0 + 1e-9))
    return (
        np.exp(np.log(low)[:, None] * (1.0 - _BELOW)) * (1.0 - _BESIDE),
        np.exp(np.log(high)[:, None] * _ABOVE) * (1.0 + _BESIDE),
    )


def _excess(kind: Family, edge: EdgeGrid, m: Array, q: Array) -> Array:
    """V(q) / q - 1, shape [maps, nodes]; rounding is about 1e-15 sigma_w2."""
    a, c = edge.tau[:, None] / np.sqrt(q), m[:, None] / np.sqrt(q)
    b = a + c
    over_b = ndtr(-b)
    mass = ndtr(-a) - over_b
    moment = (1.0 + a * a) * mass - a * _density(a) + (a - c) * _density(b) + c * c * over_b
    sides = 2.0 if kind.two_sided else 1.0
    return np.asarray(edge.sigma_w2[:, None] * sides * moment + edge.sigma_b2[:, None] / q - 1.0)


def _density(x: Array) -> Array:
    return np.asarray(np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi))


def _dips(f: Array) -> NDArray[np.int64]:
    """Turns between nodes that reach across zero though no node does."""
    left, middle, right = f[:, :-2], f[:, 1:-1], f[:, 2:]
    rise, bend = 0.5 * (right - left), right - 2.0 * middle + left
    turns = (middle * bend > 0.0) & (np.abs(rise) <= np.abs(bend))
    same = (left * middle > 0.0) & (middle * right > 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = middle - 0.5 * rise * rise / bend
    return np.asarray((turns & same & (vertex * middle < 0.0)).sum(axis=1))
