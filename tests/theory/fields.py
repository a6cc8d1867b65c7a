"""The convolutions, fields and test of a mean that the tests over positions share."""

import math

import numpy as np
import pytest
from scipy import stats

from sparsefield.theory import solve
from sparsefield.theory.bivariate import covariance
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


def worst_t(samples, expected):
    """The largest Student t of the mean of ``samples`` [networks, ...] against ``expected``."""
    t = (samples.mean(axis=0) - expected) / (samples.std(axis=0, ddof=1) / len(samples) ** 0.5)
    return np.abs(t).max()


def disagrees(samples, expected):
    """Whether the mean of ``samples`` [networks, ...] is further from ``expected`` than chance."""
    limit = stats.t.ppf(1.0 - ALARM / 2.0 / samples[0].size, len(samples) - 1)
    return worst_t(samples, expected) > limit


def covariance_layer(vmap, conv, sigma):
    """[N, H, W, N, H, W] one layer later: sigma_b2 + sigma_w2 mean_t E[phi(x) phi(y)], no skip."""
    n, size, out = sigma.shape[0], sigma.shape[1:3], conv.output_size(sigma.shape[1:3])
    flat = sigma.reshape((n * math.prod(size),) * 2)
    q = np.diag(flat)
    rho = np.clip(flat / np.sqrt(np.outer(q, q)), -1.0, 1.0)
    read = covariance(vmap.phi, *np.broadcast_arrays(q[:, None], q, rho))
    read = np.pad(read.reshape((n, math.prod(size)) * 2), ((0, 0), (0, 1)) * 2)  # -1 reads zero
    taps = np.mean([read[:, tap][..., tap] for tap in conv.reads(size)], axis=0)
    return vmap.sigma_b2 + vmap.sigma_w2 * taps.reshape((n, *out) * 2)
