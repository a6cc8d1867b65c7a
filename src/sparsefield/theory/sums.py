"""What norms and sums do to the variance of pre-activations, and to the zeros behind them.

**A norm**, y = gamma (h - mean) / std + beta, has the mean square gamma^2 + beta^2 whatever h was:
V behind it is a constant.

**A sum.** Weights of mean zero make f(x) = W phi(x) + b uncorrelated with x, so variances add:
E[(A x + B f(x))^2] = A^2 E[x^2] + B^2 E[f^2]. With A = B = 1 the variance grows with every block.
Where x is a pre-activation, E[x^2] = E[f^2] = q*, and A^2 + B^2 = 1 keeps q*. Where x = phi(h) is
an activation, A^2 E[phi^2] + B^2 q* = q* does; but then A x is no Gaussian. Its unit i reads its
own x_i again, so the law of one unit's pre-activation is a Markov chain of its own::

    h <- A phi(h) + N(0, B^2 (sigma_w2 E[phi(h)^2] + sigma_b2)),

exact for wide layers. It is iterated here as it stands, on nodes. Ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from sparsefield.errors import InvalidInput

from . import gaussian
from .maps import VarianceMap
from .piecewise import PiecewiseLinear
from .quadrature import Array, split_rule
from .ranges import check_count, check_variance

_REACH = 14.0  # standard deviations at which a sloped tail ends


def normed_variance(gamma: ArrayLike, beta: ArrayLike = 0.0) -> float:
    """Mean square behind a norm, gamma^2 + beta^2, averaged over its units.

    >>> normed_variance(2.0), normed_variance([1.0, 2.0], [0.0, 1.0])
    (4.0, 3.0)
    """
    return float(np.mean(np.square(gamma) + np.square(beta)))


def shifted(phi: PiecewiseLinear, mean: ArrayLike) -> PiecewiseLinear:
    """x -> phi(x + mean): what phi does to a Gaussian of this mean; ``mean`` may be a batch.

    Behind a norm with beta its zeros are ``gaussian.sparsity(shifted(phi, beta), gamma**2)``.

    >>> from sparsefield.theory import piecewise
    >>> round(float(gaussian.sparsity(shifted(piecewise.relu(), 1.0), 1.0)), 4)
    0.1587
    """
    knots = phi.knots - np.asarray(mean, dtype=float)[..., None]
    return PiecewiseLinear(knots, phi.slopes, phi.values)


def summed_variances(vmap: VarianceMap, q: float, blocks: int) -> Array:
    """Variance before and after each of so many blocks x + W phi(x) + b; shape [blocks + 1].

    Parameters
    ----------
    vmap
        V of the block's layer.
    q
        variance that the first block reads.
    blocks
        how many follow, >= 0.

    >>> from sparsefield.theory import piecewise
    >>> summed_variances(VarianceMap(piecewise.relu(), 2.0, 0.0), 1.0, 3).round(9).tolist()
    [1.0, 2.0, 4.0, 8.0]
    """
    check_variance(q)
    path = [float(q)]
    for _ in range(blocks):
        path.append(path[-1] + float(vmap(path[-1])))
    return np.array(path)


def skip_weights(skip: float, q: float = 1.0, carried: float | None = None) -> tuple[float, float]:
    """A and B of A x + B f(x), for E[f^2] = q and a sum of variance q.

    Parameters
    ----------
    skip
        alpha^2 in [0, 1), the share of the variance that x carries.
    q
        variance of f(x), and of the sum.
    carried
        E[x^2]: q for a pre-activation (the default), E[phi^2] for what an activation put out.

    Returns
    -------
    A = sqrt(alpha^2 q / E[x^2]) and B = sqrt(1 - alpha^2).

    Raises
    ------
    InvalidInput
        a value out of range.

    >>> skip_weights(0.36)
    (0.6, 0.8)
    """
    if not 0.0 <= skip < 1.0:
        raise InvalidInput(
            f"skip {skip}: the share of the variance that the skip carries lies in [0, 1)"
        )
    share = 1.0 if carried is None else q / carried
    return math.sqrt(skip * share), math.sqrt(1.0 - skip)


@dataclass(frozen=True)
class Path:
    """Block by block, [blocks + 1]: the variance of the pre-activations and the share of zeros."""

    q: Array
    zeros: Array


def post_activation(vmap: VarianceMap, q: float, skip: float, blocks: int) -> Path:
    """What blocks x <- phi(A x + B (W x + b)) do to pre-activations that begin as N(0, q).

    Parameters
    ----------
    vmap
        V of the block's layer, without a skip; its activation is a ``PiecewiseLinear``.
    q
        the variance to be kept, q*.
    skip
        alpha^2, the share that x carries in the first block; see :func:`skip_weights`.
    blocks
        how many, >= 1.

    Raises
    ------
    InvalidInput
        a value out of range.

    >>> from sparsefield.theory import solve
    >>> point = solve("crelu", sparsity=0.9, clip=1.0)
    >>> path = post_activation(point.variance_map(), 1.0, skip=0.01, blocks=2)
    >>> path.q.round(3).tolist()[:2], path.zeros.round(3).tolist()[:2]
    ([1.0, 1.0], [0.9, 0.895])
    """
    check_variance(q)
    check_count("blocks", blocks)
    phi = vmap.phi
    if not isinstance(phi, PiecewiseLinear):
        raise InvalidInput(f"{type(phi).__name__}: give the activation as a PiecewiseLinear")
    carry, renew = skip_weights(skip, q, float(gaussian.second_moment(phi, q)))
    grid = _Grid(phi, q, renew)
    law = grid.masses(np.zeros(1), math.sqrt(q))[0]
    variances, zeros = [q], [grid.zeros(law)]
    for _ in range(blocks):
        read = grid.second_moment(law)
        fresh = renew**2 * (float(vmap.sigma_w2) * read + float(vmap.sigma_b2))
        law = law @ grid.masses(carry * grid.values, math.sqrt(fresh))
        variances.append(carry**2 * read + fresh)
        zeros.append(grid.zeros(law))
    return Path(np.array(variances), np.array(zeros))


class _Grid:
    """Nodes for the law of h: one a flat piece of phi, many a sloped one."""

    def __init__(self, phi: PiecewiseLinear, q: float, renew: float) -> None:
        reach = _REACH * math.sqrt(q) + float(np.abs(phi.knots).max())
        ends = [-np.inf, *phi.knots.tolist(), np.inf]
        pieces = [
            _flat(phi, low, high) if slope == 0.0 else _sloped(low, high, reach, renew * q**0.5)
            for slope, low, high in zip(phi.slopes, ends, ends[1:], strict=False)
        ]
        self.low, self.high, self.at, self.weight = (
            np.concatenate(column) for column in zip(*pieces, strict=True)
        )
        self.values = phi(self.at)

    def masses(self, centres: Array, std: float) -> Array:
        """Mass at every node of N(centre, std^2), [centres, nodes]."""
        c = centres[:, None]
        atoms = ndtr((self.high - c) / std) - ndtr((self.low - c) / std)
        density = np.exp(-0.5 * ((self.at - c) / std) ** 2) / (std * math.sqrt(2.0 * math.pi))
        return np.where(self.weight > 0.0, self.weight * density, atoms)

    def second_moment(self, law: Array) -> float:
        return float(law @ self.values**2)

    def zeros(self, law: Array) -> float:
        return float(law[(self.values == 0.0) & (self.weight == 0.0)].sum())


_Nodes = tuple[Array, Array, Array, Array]  # low and high end, place, weight (0 for an atom)


def _flat(phi: PiecewiseLinear, low: float, high: float) -> _Nodes:
    inside = high - 1.0 if low == -np.inf else low + 1.0 if high == np.inf else (low + high) / 2.0
    return np.array([low]), np.array([high]), np.array([inside]), np.zeros(1)


def _sloped(low: float, high: float, reach: float, std: float) -> _Nodes:
    low, high = max(low, -reach), min(high, reach)
    nodes, weights = split_rule(max(1, math.ceil(2.0 * (high - low) / std)))
    nothing = np.zeros_like(nodes)
    return nothing, nothing, low + (high - low) * nodes, (high - low) * weights
