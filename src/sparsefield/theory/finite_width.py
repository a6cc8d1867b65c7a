"""What Q does in a network of finite width: by the transfer operator, or by draws of the chain."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from sparsefield.errors import InvalidInput

from . import gaussian
from .chain import checked_sizes, simulate
from .maps import VarianceMap
from .operator import FLOOR, TooLarge, TransferOperator, escape_probability
from .quadrature import Array

_DRAWS, _FEWEST = 500, 20  # where only draws can tell
_UNITS = 300_000_000  # of all those networks: a few seconds
_MOST = 1000  # width up to which the operator's table stays small
_WIDEST = 10_000  # width up to which it is the faster way


@dataclass(frozen=True)
class FiniteWidth:
    """What Q does at one width and depth.

    Attributes
    ----------
    q_mean, q_std
        mean and standard deviation of Q over the second half of the layers, in units of q.
    escape_probability
        chance that Q leaves [q*/2, 2 q*] at some layer.
    draws
        number of simulated networks; None: the transfer operator, without sampling error.
    """

    q_mean: float
    q_std: float
    escape_probability: float
    draws: int | None


def finite_width(
    vmap: VarianceMap,
    q_star: float,
    *,
    width: int,
    depth: int,
    draws: int | None = None,
    seed: int = 0,
) -> FiniteWidth:
    """Spread and escape probability of Q at one width and depth.

    Parameters
    ----------
    vmap
        the variance map, of one activation; with a skip, Q is that of
        :func:`sparsefield.theory.chain.simulate`.
    q_star
        fixed point of ``vmap``; the first layer has Q = q*.
    width, depth
        units of a layer, and number of layers.
    draws
        None: by the transfer operator, to about 1e-3 of each value. Where it does not hold (a
        skip), beyond width 10,000, or where its table would be too large: by 500 draws, or as many
        (at least 20) as take seconds. A number: by that many draws of the chain.
    seed
        fixes the draws.

    Raises
    ------
    InvalidInput
        a width, depth or number of draws below 1, a ``q_star`` that is no variance, or a network
        too large to be drawn unasked.

    >>> from sparsefield.theory import solve
    >>> vmap = solve("crelu", sparsity=0.9, q=1.0, clip=1.25).variance_map()
    >>> round(finite_width(vmap, 1.0, width=300, depth=100).escape_probability, 3)
    0.032
    """
    checked_sizes(vmap, q_star, width=width, depth=depth, draws=1 if draws is None else draws)
    if draws is None and vmap.skip == 0.0 and width <= _WIDEST:
        with suppress(TooLarge):
            return _by_operator(vmap, q_star, width, depth)
    return _by_draws(vmap, q_star, width, depth, draws or _affordable(width, depth), seed)


def _affordable(width: int, depth: int) -> int:
    """How many draws take seconds."""
    if width * depth * _FEWEST > _UNITS:
        raise InvalidInput(
            f"width {width}, depth {depth}: {_FEWEST} draws of so large a network would take long; "
            "give draws= if they are worth it, or use the infinite width"
        )
    return min(_DRAWS, _UNITS // (width * depth))


def _by_operator(vmap: VarianceMap, q_star: float, width: int, depth: int) -> FiniteWidth:
    chance = escape_probability(vmap, q_star, width=width, depth=depth)
    settled = width > _MOST and chance < FLOOR  # no mass far from q*: a low ceiling will do
    operator = TransferOperator(vmap, q_star, width=width, ceiling=4.0 if settled else 64.0)
    mean, variance = operator.mean(depth)[depth // 2 :], operator.variance(depth)[depth // 2 :]
    spread = (variance + mean**2).mean() - mean.mean() ** 2
    return FiniteWidth(float(mean.mean()), math.sqrt(max(spread, 0.0)), chance, None)


def _by_draws(
    vmap: VarianceMap, q_star: float, width: int, depth: int, draws: int, seed: int
) -> FiniteWidth:
    path = simulate(vmap, q_star, width=width, depth=depth, draws=draws, seed=seed)
    late = path[:, depth // 2 :]
    share = float(escaped(path, q_star).mean())
    return FiniteWidth(float(late.mean()), float(late.std()), share, draws)


def escaped(path: Array, q_star: float) -> Array:
    """Whether each path [draws, depth] leaves [q*/2, 2 q*], shape [draws]."""
    return np.asarray(((path < q_star / 2.0) | (path > 2.0 * q_star)).any(axis=1))


def binomial_interval(hits: int, draws: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval for a probability seen ``hits`` times in ``draws``.

    >>> [round(end, 4) for end in binomial_interval(0, 400)]
    [0.0, 0.0092]
    """
    tail = (1.0 - level) / 2.0
    low = betaincinv(hits, draws - hits + 1, tail) if hits > 0 else 0.0
    high = betaincinv(hits + 1, draws - hits, 1.0 - tail) if hits < draws else 1.0
    return float(low), float(high)


def linear_std(vmap: VarianceMap, q_star: float, width: int) -> float:
    """Stationary std of Q from the chain linearised at q*; infinite where V' = 1.

    sqrt(sigma_w2^2 Var(phi^2) / (width (1 - V'^2))).
    """
    second = float(gaussian.second_moment(vmap.phi, q_star))
    variance = float(gaussian.fourth_moment(vmap.phi, q_star)) - second**2
    contraction = 1.0 - float(vmap.slope(q_star)) ** 2
    if contraction < 1e-9:  # V' = 1 but for rounding
        return math.inf
    return math.sqrt(float(vmap.sigma_w2) ** 2 * variance / (width * contraction))
