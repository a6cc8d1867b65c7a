"""The convolutions, fields and test of a mean that the tests over positions share."""

import math

import numpy as np
import pytest
from scipy import stats

from sparsefield.theory import solve
from sparsefield.theory.convolution import Convolution

ALARM = 1e-4
SIZE = (6, 5)
ZEROS = Convolution(padding="zeros")
CIRCULAR = Convolution()
DELTA = Convolution(padding="zeros", weights="delta")
SHAPES = [
    Convolution(kernel, padding, stride)
    for kernel, stride in ((1, 1), (3, 1), (5, 1), (3, 2), (5, 3))
    for padding in ("circular", "zeros")
]
NAMED = pytest.mark.parametrize("conv", SHAPES, ids=str)


def crelu(skip=0.0, clip=1.0):
    return solve("crelu", sparsity=0.9, clip=clip).variance_map(skip)


def rng():
    return np.random.default_rng(5)


def some_variances(size=SIZE):
    return rng().uniform(0.3, 2.0, size)


def some_covariance(n=2, size=SIZE, seed=5):
    factor = np.random.default_rng(seed).standard_normal((n * math.prod(size), 70))
    return (factor @ factor.T / 70).reshape(n, *size, n, *size)


def worst_t(samples, expected):
    """The largest Student t of the mean of ``samples`` [networks, ...] against ``expected``."""
    t = (samples.mean(axis=0) - expected) / (samples.std(axis=0, ddof=1) / len(samples) ** 0.5)
    return np.abs(t).max()


def disagrees(samples, expected):
    """Whether the mean of ``samples`` [networks, ...] is further from ``expected`` than chance."""
    limit = stats.t.ppf(1.0 - ALARM / 2.0 / samples[0].size, len(samples) - 1)
    return worst_t(samples, expected) > limit
