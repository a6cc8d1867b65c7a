"""Top-k, the k-winners-take-all of Xiao et al. 2020: what it does to variances and gradients.

A layer keeps the k = (1 - s) n largest of its n pre-activations and sets the others to zero. In a
wide layer that is phi(x) = x 1[x > a sqrt(q)] with a = Phi^-1(s): the threshold follows q. So the
variance map is a straight line::

    V(q) = sigma_w2 kappa q + sigma_b2,    kappa = a p(a) + 1 - Phi(a),

and sigma_w2 = 1 / kappa with sigma_b2 = 0 keeps every variance. A gradient passes through the
winners only, so chi_1 = sigma_w2 (1 - s), and at that scale chi_1 = (1 - s) / kappa: 0.46 at
s = 0.8, 0.31 at s = 0.9, 0.23 at s = 0.95.

**Above s = 1/2 there is no edge of chaos.** There a > 0, so kappa > 1 - s, and chi_1 = 1 needs the
slope V' = kappa / (1 - s) > 1, at which no variance is kept; every slope up to 1 has chi_1 < 1.
No bias helps: it moves the fixed point and leaves the slope as it is. At s = 1/2 top-k is as ReLU.

What is kept of a gradient g at the pre-activations h is its part along h. Without biases the
network is homogeneous of degree 1, so h . g is the same in every layer (Euler); at width n::

    E |g^l|^2 = (sigma_w2 / n) ((k - 1) |g^(l+1)|^2 + (h^(l+1) . g^(l+1))^2 / Q^(l+1))

exactly, with Q the variance of h^(l+1) over the weights. That part only scales all outputs; across
it gradients fall by sigma_w2 (k - 1) / n a layer.

The map and its constants are ours; at a finite width n, too, they are exact: the threshold is then
random, Phi(a) has the law Beta(n - k, k), and kappa is the mean of the same expression.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtr, ndtri, roots_hermitenorm

from .families import family_named
from .fixed_points import FixedPoint
from .point import CriticalPoint
from .quadrature import Array
from .ranges import check_count, check_sparsity, check_variance

FAMILY = "topk"
_NODES = 64


def winners(sparsity: float, units: int) -> int:
    """k, how many of so many units win: round((1 - s) units), at least 1.

    >>> winners(0.9, 300), winners(0.95, 10)
    (30, 1)
    """
    return max(1, round((1.0 - sparsity) * units))


def kappa(sparsity: float, width: int | None = None) -> float:
    """E[phi^2] / q, the second moment that the winners carry.

    Parameters
    ----------
    sparsity
        s in (0, 1), share of units that lose.
    width
        n, units of a layer, of which ``winners(sparsity, n)`` win; None: the wide limit.

    Raises
    ------
    InvalidInput
        a value outside its range.

    >>> round(kappa(0.9), 6), round(kappa(0.9, width=100), 6)
    (0.32491, 0.318466)
    """
    check_sparsity(sparsity)
    if width is not None:
        check_count("width", width)
    if width is None:
        a = float(family_named("relu").threshold(sparsity))
        return a * float(_density(a)) + (1.0 - sparsity)
    return _kappa_of_draws(winners(sparsity, width), width)


def chi1(sparsity: float, width: int | None = None) -> float:
    """The factor on squared gradients per layer at the scale that keeps the variance.

    The arguments are those of :func:`kappa`.

    >>> round(chi1(0.9), 3), round(chi1(0.5), 12)
    (0.308, 1.0)
    """
    return _share(sparsity, width) / kappa(sparsity, width)


@dataclass(frozen=True)
class WinnersMap:
    """The variance map of top-k, V(q) = sigma_w2 kappa q + sigma_b2; as ``VarianceMap`` is used.

    Parameters
    ----------
    share
        k / n, share of the units that win.
    kappa
        E[phi^2] / q.
    sigma_w2, sigma_b2
        variance of the weights times fan_in, and of the biases.
    skip
        alpha^2, the share of the variance that the fixed-point-keeping skip carries.
    """

    share: float
    kappa: float
    sigma_w2: float
    sigma_b2: float = 0.0
    skip: float = 0.0

    def __call__(self, q: ArrayLike) -> Array:
        """V(q), the variance one layer later."""
        q = np.asarray(q, dtype=float)
        return self.skip * q + (1.0 - self.skip) * (self.sigma_w2 * self.kappa * q + self.sigma_b2)

    def slope(self, q: ArrayLike) -> Array:
        """V'(q), the same everywhere."""
        return self._everywhere(q, self.sigma_w2 * self.kappa)

    def chi1(self, q: ArrayLike) -> Array:
        """Factor on squared gradients per layer, sigma_w2 (1 - s) without a skip."""
        return self._everywhere(q, self.sigma_w2 * self.share)

    def sparsity(self, q: ArrayLike) -> Array:
        """Share of exact zeros, whatever the variance."""
        return np.full(np.shape(q), 1.0 - self.share)

    def _everywhere(self, q: ArrayLike, plain: float) -> Array:
        return np.full(np.shape(q), self.skip + (1.0 - self.skip) * plain)


@dataclass(frozen=True)
class WinnersPoint:
    """The initialisation of a top-k network that keeps the variance; :func:`winners_point`.

    Beside a :class:`CriticalPoint` it has no edge of chaos: ``chi1`` < 1 above a sparsity of 1/2.

    Attributes
    ----------
    sparsity
        s, the share of units that are to lose.
    q
        variance of the pre-activations, set by the first layer; every variance is kept.
    width
        units of a layer; None: the wide limit.
    kappa
        E[phi^2] / q at this width.
    """

    sparsity: float
    q: float
    width: int | None
    kappa: float

    family: str = FAMILY
    sigma_b2: float = 0.0
    slope: float = 1.0
    curvature: float = 0.0
    m: None = None
    clip: None = None

    @property
    def share(self) -> float:
        """k / n, the share that wins: 1 - s but for the rounding of k."""
        return _share(self.sparsity, self.width)

    @property
    def sigma_w2(self) -> float:
        """1 / kappa: weights are N(0, sigma_w2 / fan_in)."""
        return 1.0 / self.kappa

    @property
    def chi1(self) -> float:
        """(1 - s) / kappa, the factor on squared gradients per layer."""
        return self.share / self.kappa

    @property
    def tau(self) -> float:
        """The threshold of a wide layer, in the units of the pre-activation."""
        return math.sqrt(self.q) * float(family_named("relu").threshold(self.sparsity))

    @property
    def second_moment(self) -> float:
        """E[phi^2] at q, the mean square that the next layer reads."""
        return self.kappa * self.q

    @property
    def fixed_points(self) -> tuple[FixedPoint, ...]:
        """q, one of all variances: none attracts."""
        return (FixedPoint(self.q, 1.0, False),)

    def variance_map(self, skip: float = 0.0) -> WinnersMap:
        """V of a network initialised at this point, with the fixed-point-keeping ``skip``."""
        return WinnersMap(self.share, self.kappa, self.sigma_w2, self.sigma_b2, skip)


Point = CriticalPoint | WinnersPoint


def winners_point(sparsity: float, q: float = 1.0, width: int | None = None) -> WinnersPoint:
    """The scale at which top-k keeps the variance: sigma_w2 = 1 / kappa, sigma_b2 = 0.

    Parameters
    ----------
    sparsity
        s in (0, 1), share of units that lose.
    q
        variance > 0 of the pre-activations.
    width
        units of a layer, at which the mean variance is then kept exactly; None: the wide limit.

    Raises
    ------
    InvalidInput
        a value outside its range.

    >>> point = winners_point(0.9, q=4.0)
    >>> round(point.sigma_w2, 3), round(point.chi1, 3), point.slope
    (3.078, 0.308, 1.0)
    """
    check_variance(q)
    return WinnersPoint(float(sparsity), float(q), width, kappa(sparsity, width))


def _share(sparsity: float, width: int | None) -> float:
    return 1.0 - sparsity if width is None else winners(sparsity, width) / width


def _density(z: ArrayLike) -> Array:
    return np.exp(-0.5 * np.square(z)) / math.sqrt(2.0 * math.pi)


def _kappa_of_draws(k: int, n: int) -> float:
    """Mean of the sum of the k largest of n draws' squares, over n: k / n + E[a p(a)].

    Integration by parts turns the law of the winners into that of the threshold a that a unit must
    pass among the n - 1 others, Phi(a) ~ Beta(n - k, k). As a function of a normal variable a is
    smooth and nearly linear, so few Gauss-Hermite nodes give it to rounding.
    """
    if k == n:
        return 1.0
    nodes, weights = roots_hermitenorm(_NODES)
    beyond = ndtr(-np.abs(nodes))  # each half from its own tail: no digit is lost near 1
    below, above = betaincinv(n - k, k, beyond), betaincinv(k, n - k, beyond)
    a = np.where(nodes < 0.0, ndtri(below), -ndtri(above))
    mean = np.sum(weights * a * _density(a)) / np.sum(weights)
    return k / n + float(mean)
