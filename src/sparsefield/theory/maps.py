"""The layer maps of the variance, q -> V(q), and of the correlation, rho -> R(rho)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sparsefield.errors import InvalidInput

from . import bivariate, gaussian
from .activation import Activation
from .quadrature import Array
from .roots import bracketed_root


@dataclass(frozen=True)
class VarianceMap:
    """V(q) = sigma_w2 E[phi(sqrt(q) Z)^2] + sigma_b2, and with a skip alpha^2 q + (1 - alpha^2) V.

    Parameters
    ----------
    phi
        the activation.
    sigma_w2
        variance of the weights times fan_in.
    sigma_b2
        variance of the biases, in units of q.
    skip
        alpha^2, the share of the variance that the fixed-point-keeping skip carries; 0 is
        the plain network of [P24] and [DT26].

    All methods are vectorised over ``q`` and over a batch of activations.

    >>> from sparsefield.theory import piecewise
    >>> he = VarianceMap(piecewise.relu(), sigma_w2=2.0, sigma_b2=0.0)
    >>> round(float(he(5.0)), 12), round(float(he.chi1(5.0)), 12)
    (5.0, 1.0)
    """

    phi: Activation
    sigma_w2: float | Array
    sigma_b2: float | Array
    skip: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.skip < 1.0:
            raise InvalidInput(f"skip {self.skip}: the share of the variance lies in [0, 1)")
        if np.any(np.asarray(self.sigma_w2) < 0.0) or np.any(np.asarray(self.sigma_b2) < 0.0):
            raise InvalidInput("sigma_w2 and sigma_b2 are variances: must be >= 0")

    def __call__(self, q: ArrayLike) -> Array:
        """V(q), the variance one layer later."""
        plain = self.sigma_w2 * gaussian.second_moment(self.phi, q) + self.sigma_b2
        return self.skip * np.asarray(q) + (1.0 - self.skip) * plain

    def slope(self, q: ArrayLike) -> Array:
        """V'(q), the delta terms at kinks included [P24, eq. for V']."""
        plain = self.sigma_w2 * gaussian.second_moment_slope(self.phi, q)
        return self.skip + (1.0 - self.skip) * plain

    def curvature(self, q: ArrayLike) -> Array:
        """V''(q), in units of 1/q, the delta terms at kinks included."""
        return (1.0 - self.skip) * self.sigma_w2 * gaussian.second_moment_curvature(self.phi, q)

    def chi1(self, q: ArrayLike) -> Array:
        """Factor on squared gradients per layer, sigma_w2 E[phi'^2] without a skip."""
        return self.skip + (1.0 - self.skip) * self.sigma_w2 * gaussian.gain(self.phi, q)

    def sparsity(self, q: ArrayLike) -> Array:
        """Share of exact zeros after the activation at variance ``q``."""
        return gaussian.sparsity(self.phi, q)

    def correlation(self, q: float) -> CorrelationMap:
        """R of the layer that reads pre-activations of variance ``q``."""
        return CorrelationMap(self, q)


@dataclass(frozen=True)
class CorrelationPoint:
    """A correlation rho with R(rho) = rho.

    Attributes
    ----------
    rho
        the correlation; ``delta`` is 1 - rho with all its digits.
    slope
        R'(rho); below 1 the point attracts.
    depth_scale
        layers in which a deviation shrinks by e; infinite where R' >= 1. At rho = 1 on the
        edge of chaos the approach is a power law, see :meth:`CorrelationMap.power_law`.
    """

    rho: float
    delta: float
    slope: float
    depth_scale: float

    @property
    def stable(self) -> bool:
        """Whether nearby correlations come closer at an exponential rate."""
        return abs(self.slope) < 1.0 - EDGE


EDGE = 1e-9  # chi_1 within this of 1 is the edge of chaos


@dataclass(frozen=True)
class CorrelationMap:
    """R(rho): the correlation of two inputs of equal variance q, one layer later.

    R(rho) = (alpha^2 q rho + (1 - alpha^2) (sigma_w2 E[phi(x) phi(y)] + sigma_b2)) / V(q), with x
    and y of variance q and correlation rho, and alpha^2 the skip. Where q is not a fixed point, R
    is still the map of that one layer. R is convex on [0, 1]: it has at most one fixed point
    besides rho = 1 there, and none below zero but rho = -1 for an odd phi without bias.

    Parameters
    ----------
    variance
        the variance map.
    q
        variance of both inputs, > 0.

    Source: [P24], correlation map; deficits, constants and the skip are ours.

    >>> from sparsefield.theory import piecewise
    >>> he = VarianceMap(piecewise.relu(), sigma_w2=2.0, sigma_b2=0.0).correlation(1.0)
    >>> round(float(he(0.0)), 6), round(float(he.slope(1.0)), 12)
    (0.31831, 1.0)
    """

    variance: VarianceMap
    q: float

    def __call__(self, rho: ArrayLike) -> Array:
        """R(rho) for correlations in [-1, 1], any shape."""
        v = self.variance
        joint = v.sigma_w2 * bivariate.covariance(v.phi, self.q, self.q, rho) + v.sigma_b2
        carried = v.skip * self.q * np.asarray(rho)
        return np.asarray((carried + (1.0 - v.skip) * joint) / self._next_q)

    def slope(self, rho: ArrayLike) -> Array:
        """R'(rho); chi_1 at rho = 1."""
        v = self.variance
        plain = v.sigma_w2 * bivariate.derivative_covariance(v.phi, self.q, self.q, rho)
        return np.asarray((v.skip + (1.0 - v.skip) * plain) * self.q / self._next_q)

    def deficit(self, delta: ArrayLike) -> Array:
        """1 - R(1 - delta) to full relative precision, ``delta`` in [0, 2]."""
        v = self.variance
        plain = v.sigma_w2 * bivariate.deficit(v.phi, self.q, delta)
        carried = v.skip * self.q * np.asarray(delta)
        return np.asarray((carried + (1.0 - v.skip) * plain) / self._next_q)

    @property
    def chi1(self) -> float:
        """R'(1)."""
        return float(self.variance.chi1(self.q)) * self.q / self._next_q

    @property
    def kappa(self) -> float:
        """The constant in 1 - R(1 - delta) = chi_1 delta - kappa delta^(3/2) + O(delta^2)."""
        v = self.variance
        plain = float(v.sigma_w2) * float(bivariate.roughness(v.phi, self.q))
        return (1.0 - v.skip) * plain * self.q / self._next_q

    def power_law(self, depth: ArrayLike) -> Array:
        """1 - rho after ``depth`` layers at the edge of chaos, (2 / (kappa depth))^2.

        The leading term: it holds from depths well above 2 / (kappa sqrt(delta_0)) on. Infinite
        for a phi without kinks, where the approach is slower or faster by another law.
        """
        with np.errstate(divide="ignore"):
            return np.asarray((2.0 / (self.kappa * np.asarray(depth, dtype=float))) ** 2)

    def iterate_deficit(self, delta: float, depth: int) -> Array:
        """1 - rho of ``depth`` layers in turn, the first of them ``delta``; shape [depth]."""
        layers = [float(delta)]
        for _ in range(depth - 1):
            layers.append(min(float(self.deficit(layers[-1])), 2.0))
        return np.array(layers[:depth])

    def fixed_points(self) -> tuple[CorrelationPoint, ...]:
        """Every fixed point, by ascending rho; rho = 1 is always the last."""
        found = [self._point(0.0)]
        if self.chi1 > 1.0 + EDGE:
            found.append(self._point(self._interior()))
        if self._is_odd:
            found.append(self._point(2.0))
        return tuple(sorted(found, key=lambda point: point.rho))

    @property
    def _next_q(self) -> float:
        return float(self.variance(self.q))

    @property
    def _is_odd(self) -> bool:
        return self.variance.phi.odd and float(self.variance.sigma_b2) == 0.0

    def _point(self, delta: float) -> CorrelationPoint:
        slope = self.chi1 if delta == 0.0 else float(self.slope(1.0 - delta))
        return CorrelationPoint(1.0 - delta, delta, slope, float(depth_scale(slope)))

    def _interior(self) -> float:
        """The delta in (0, 1] with 1 - R(1 - delta) = delta, for chi_1 > 1."""
        if float(self.deficit(1.0)) >= 1.0 - 1e-15:  # odd, no bias: rho = 0
            return 1.0
        low = 1e-3
        while float(self.deficit(low)) < low:
            low *= 1e-3
        return bracketed_root(
            lambda delta: float(self.deficit(delta)) / delta - 1.0,
            low,
            1.0,
            what="fixed point of R",
        )


def depth_scale(factor: ArrayLike) -> Array:
    """Layers in which a deviation falls to 1/e, -1 / ln abs(factor); inf from factor 1 on."""
    size = np.abs(np.asarray(factor, dtype=float))
    with np.errstate(divide="ignore"):
        return np.where(size < 1.0 - EDGE, -1.0 / np.log(size), np.inf)
