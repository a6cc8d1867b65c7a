"""Fourier modes over an image, by finite differences of a layer of plain sums over pairs."""

import math

import numpy as np
import pytest

from sparsefield.errors import InvalidInput
from sparsefield.theory.convolution import Convolution
from sparsefield.theory.maps import depth_scale
from sparsefield.theory.modes import modes
from sparsefield.theory.spatial import variance_layer

from .fields import CIRCULAR, DELTA, SIZE, ZEROS, covariance_layer, crelu


def test_averaging_leaves_a_stationary_covariance_alone():
    wave = 0.5 + 0.3 * np.cos(2.0 * np.pi * np.arange(4) / 4)
    line = wave[(np.arange(4)[:, None] - np.arange(4)) % 4]
    sigma = (1.5 * np.einsum("ik,jm->ijkm", line, line))[None, :, :, None]
    gaussian_taps = covariance_layer(crelu(), CIRCULAR, sigma)
    np.testing.assert_allclose(gaussian_taps, covariance_layer(crelu(), DELTA, sigma), rtol=1e-13)
    assert not np.allclose(gaussian_taps, covariance_layer(crelu(), ZEROS, sigma), rtol=1e-2)


@pytest.mark.parametrize("conv", [CIRCULAR, Convolution(5), DELTA], ids=str)
@pytest.mark.parametrize("k", [(0, 0), (1, 0), (2, 1), (3, 2)])
def test_variance_modes_by_finite_differences(conv, k):
    vmap, eps = crelu(skip=0.3), 1e-5
    wave = plane_wave(k)
    up, down = (variance_layer(vmap, conv, 1.0 + sign * eps * wave) for sign in (1, -1))
    factor = modes(vmap, conv, SIZE, 1.0).variance[k]
    np.testing.assert_allclose((up - down) / (2 * eps), factor * wave, atol=1e-8)


@pytest.mark.parametrize("conv", [CIRCULAR, DELTA], ids=str)
def test_covariance_modes_by_finite_differences(conv):
    vmap, eps, rho = crelu(), 1e-5, 0.6
    base = np.where(np.eye(60).reshape(2, *SIZE, 2, *SIZE) > 0.0, 1.0, rho)
    wave = np.zeros_like(base)
    for i, j in np.ndindex(SIZE):  # between two inputs, at one displacement
        m = (j + 2) % SIZE[1]
        wave[0, i, j, 1, i, m] = wave[1, i, m, 0, i, j] = plane_wave((1, 2))[i, j]
    up, down = (covariance_layer(vmap, conv, base + sign * eps * wave) for sign in (1, -1))
    factor = modes(vmap, conv, SIZE, 1.0, rho).covariance[1, 2]
    np.testing.assert_allclose((up - down) / (2 * eps), factor * wave, atol=1e-7)


def test_a_skip_carries_every_mode():
    plain, skip = (modes(crelu(alpha), CIRCULAR, SIZE, 1.0, 0.6) for alpha in (0.0, 0.3))
    np.testing.assert_allclose(skip.covariance, 0.3 + 0.7 * plain.covariance, rtol=1e-12)


def plane_wave(k):
    i, j = np.indices(SIZE)
    return np.cos(2.0 * np.pi * (k[0] * i / SIZE[0] + k[1] * j / SIZE[1]))


def test_delta_keeps_every_mode_and_gaussian_only_the_mean():
    delta = modes(crelu(), DELTA, SIZE, 1.0)
    np.testing.assert_allclose(delta.covariance, 1.0, rtol=1e-12)
    assert np.isinf(depth_scale(delta.covariance)).all()
    taps = modes(crelu(), CIRCULAR, SIZE, 1.0).covariance
    assert taps[0, 0] == pytest.approx(1.0)
    assert np.abs(taps.ravel()[1:]).max() < 0.75


def test_depth_scale():
    np.testing.assert_allclose(depth_scale([0.0, 1 / math.e, -1 / math.e, 1.0]), [0, 1, 1, np.inf])


def test_a_correlation_beyond_one_is_refused():
    with pytest.raises(InvalidInput, match="rho = 1.5"):
        modes(crelu(), CIRCULAR, SIZE, 1.0, 1.5)
