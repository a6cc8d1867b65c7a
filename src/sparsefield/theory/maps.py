"""The layer map of the variance, q -> V(q), with its derivatives and chi_1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sparsefield.errors import InvalidInput

from . import gaussian
from .activation import Activation
from .quadrature import Array


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

    def iterate(self, q: float, depth: int) -> Array:
        """The variances of ``depth`` layers in turn, the first of them ``q``; shape [depth]."""
        layers = [float(q)]
        for _ in range(depth - 1):
            layers.append(float(self(layers[-1])))
        return np.array(layers[:depth])
