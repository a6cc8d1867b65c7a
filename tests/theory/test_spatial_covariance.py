"""Covariances over positions against loops, PyTorch's own layers, and real CNNs.

Statistical tests: t-tests of the mean over independent networks, Bonferroni over all entries, with
the false-alarm rate ALARM for a whole test; each has a twin that must fail.
"""

import math

import mpmath as mp
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, activation
from sparsefield.nn.networks import carry
from sparsefield.theory import piecewise, solve
from sparsefield.theory.bivariate import covariance
from sparsefield.theory.convolution import Convolution
from sparsefield.theory.spatial import fixed_profile, variance_layer
from sparsefield.theory.spatial_covariance import (
    activation_covariance,
    average_pool,
    convolve,
    covariance_layer,
    depth_scale,
    image_covariance,
    modes,
)

from . import reference
from .fields import (
    CIRCULAR,
    DELTA,
    NAMED,
    SIZE,
    ZEROS,
    crelu,
    disagrees,
    rng,
    some_covariance,
    worst_t,
)

# Geometry: PyTorch's layers are the reference


def patches(x, conv):
    """What every output reads, [N, C * kernel^2, H', W'], by PyTorch's padding and unfold."""
    mode = "circular" if conv.padding == "circular" else "constant"
    padded = F.pad(torch.from_numpy(x), [conv.radius] * 4, mode=mode)
    flat = F.unfold(padded, conv.kernel, stride=conv.stride)
    return flat.reshape(*flat.shape[:2], *conv.output_size(x.shape[2:])).numpy()


@NAMED
def test_convolve_is_the_covariance_of_patches(conv):
    x = rng().standard_normal((2, 3, *SIZE))
    got = convolve(image_covariance(x), conv, 1.7, 0.2)
    np.testing.assert_allclose(got, 0.2 + 1.7 * image_covariance(patches(x, conv)), atol=1e-13)


@pytest.mark.parametrize("grid", [1, 2, 4, (3, 5), (6, 5), (9, 1)])
def test_pooling_is_that_of_adaptive_avg_pool(grid):
    x = rng().standard_normal((2, 3, *SIZE))
    pooled = nn.AdaptiveAvgPool2d(grid)(torch.from_numpy(x)).numpy()
    got = average_pool(image_covariance(x), grid)
    np.testing.assert_allclose(got, image_covariance(pooled), atol=1e-13)


# Layers: plain loops are the reference


def tap_pixels(conv, size, i, j):
    """The pixels behind one output, None outside."""
    for di in conv.offsets:
        for dj in conv.offsets:
            row, column = conv.stride * i + di, conv.stride * j + dj
            if conv.padding == "circular":
                yield row % size[0], column % size[1]
            else:
                yield (row, column) if 0 <= row < size[0] and 0 <= column < size[1] else None


def loop_covariance(vmap, conv, sigma):
    n, size = sigma.shape[0], sigma.shape[1:3]
    out = conv.output_size(size)
    result = np.full((n, *out, n, *out), float(vmap.sigma_b2))
    for a, i, j, b, k, m in np.ndindex(result.shape):
        pairs = list(zip(tap_pixels(conv, size, i, j), tap_pixels(conv, size, k, m), strict=True))
        for p, r in pairs:
            if p is not None and r is not None:
                one, two = (a, *p), (b, *r)
                q1, q2 = sigma[one + one], sigma[two + two]
                rho = min(sigma[one + two] / math.sqrt(q1 * q2), 1.0)
                c = covariance(vmap.phi, q1, q2, rho)
                result[a, i, j, b, k, m] += vmap.sigma_w2 * float(c) / len(pairs)
    return result


def loop_variance(vmap, conv, q):
    """The same for variances [N, H, W], by the papers' formula in mpmath; a stride has no skip."""
    phi = reference.OneSided(*(mp.mpf(v) for v in (vmap.phi.knots[0], vmap.phi.values[-1])))
    result = np.empty((len(q), *conv.output_size(q.shape[1:])))
    for n, i, j in np.ndindex(result.shape):
        taps = list(tap_pixels(conv, q.shape[1:], i, j))
        read = sum(float(phi.second_moment(mp.mpf(q[n, p[0], p[1]]))) for p in taps if p)
        result[n, i, j] = vmap.sigma_b2 + vmap.sigma_w2 * read / len(taps)
    return result if conv.stride > 1 else vmap.skip * q + (1.0 - vmap.skip) * result


@pytest.mark.parametrize(
    "conv", [CIRCULAR, ZEROS, DELTA, Convolution(3, "zeros", 2), Convolution(3, stride=2)], ids=str
)
def test_covariance_layer_is_the_double_loop(ledger, conv):
    sigma = some_covariance(size=(3, 2))
    got = covariance_layer(crelu(), conv, sigma)
    want = loop_covariance(crelu(), conv, sigma)
    np.testing.assert_allclose(got, want, rtol=1e-11)
    ledger.record("spatial_covariance", np.abs(got / want - 1.0).max(), n=got.size)


@pytest.mark.parametrize("conv", [CIRCULAR, ZEROS, DELTA, Convolution(3, "zeros", 2)], ids=str)
@pytest.mark.parametrize("skip", [0.0, 0.9])
def test_diagonal_of_the_covariance_is_the_variance(ledger, conv, skip):
    sigma = some_covariance(size=(4, 3))
    after = covariance_layer(crelu(skip), conv, sigma)
    out = conv.output_size((4, 3))
    diagonal = [np.diagonal(s.reshape(s.shape[0] * math.prod(s.shape[1:3]), -1)) for s in
                (sigma, after)]  # fmt: skip
    got = variance_layer(crelu(skip), conv, diagonal[0].reshape(2, 4, 3))
    np.testing.assert_allclose(got, diagonal[1].reshape(2, *out), rtol=1e-12)
    want = loop_variance(crelu(skip), conv, diagonal[0].reshape(2, 4, 3))
    ledger.record("spatial_variance", np.abs(got / want - 1.0).max(), n=got.size)


def test_relu_covariance_is_the_arc_cosine_kernel():
    sigma = some_covariance(size=(3, 2))
    flat = sigma.reshape(12, 12)
    scale = np.sqrt(np.outer(np.diag(flat), np.diag(flat)))
    theta = np.arccos(np.clip(flat / scale, -1.0, 1.0))
    kernel = scale * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2.0 * np.pi)
    got = activation_covariance(piecewise.relu(), sigma).reshape(12, 12)
    np.testing.assert_allclose(got, kernel, rtol=1e-7, atol=1e-9)


# Identities


def test_averaging_leaves_a_stationary_covariance_alone():
    wave = 0.5 + 0.3 * np.cos(2.0 * np.pi * np.arange(4) / 4)
    line = wave[(np.arange(4)[:, None] - np.arange(4)) % 4]
    sigma = (1.5 * np.einsum("ik,jm->ijkm", line, line))[None, :, :, None]
    gaussian_taps = covariance_layer(crelu(), CIRCULAR, sigma)
    np.testing.assert_allclose(gaussian_taps, covariance_layer(crelu(), DELTA, sigma), rtol=1e-13)
    assert not np.allclose(gaussian_taps, covariance_layer(crelu(), ZEROS, sigma), rtol=1e-2)


@pytest.mark.parametrize("conv", [ZEROS, CIRCULAR], ids=str)
def test_two_inputs_approach_each_other_by_image_chi1(conv):
    size, vmap = (3, 3), crelu()
    profile = fixed_profile(vmap, conv, size, 1.0)
    x = rng().standard_normal((1, 1, *size))
    sigma = convolve(image_covariance(np.concatenate([x, x + 1e-3])), conv, 0.5, 0.5)
    gaps = []
    for _ in range(12):
        sigma = covariance_layer(vmap, conv, sigma)
        gap = (sigma[0, ..., 0, :, :] + sigma[1, ..., 1, :, :]) / 2.0 - sigma[0, ..., 1, :, :]
        gaps.append(float(np.einsum("ijij->", gap)))
    factor = (gaps[11] / gaps[8]) ** (1 / 3)
    assert factor == pytest.approx(profile.image_chi1, rel=0.02)
    assert (factor == pytest.approx(1.0, rel=0.02)) is (conv is CIRCULAR)


# Modes


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
    vmap, eps, rho = crelu(skip=0.3), 1e-5, 0.6
    base = np.where(np.eye(60).reshape(2, *SIZE, 2, *SIZE) > 0.0, 1.0, rho)
    wave = np.zeros_like(base)
    for i, j in np.ndindex(SIZE):  # between two inputs, at one displacement
        m = (j + 2) % SIZE[1]
        wave[0, i, j, 1, i, m] = wave[1, i, m, 0, i, j] = plane_wave((1, 2))[i, j]
    up, down = (covariance_layer(vmap, conv, base + sign * eps * wave) for sign in (1, -1))
    factor = modes(vmap, conv, SIZE, 1.0, rho).covariance[1, 2]
    np.testing.assert_allclose((up - down) / (2 * eps), factor * wave, atol=1e-7)


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


# Real networks


def network_states(conv, images, *, skip=0.0, strides=(), weights="gaussian", networks=100):
    """Pre-activations of every layer of random CNNs, [networks][layers] of [N, C, H, W]."""
    p = solve("crelu", sparsity=0.9, clip=1.0)
    x = torch.from_numpy(images).float()
    for seed in range(networks):
        model = CNN(
            x.shape[1], 128, 5, 2, p, skip=skip, padding=conv.padding, strides=strides,
            weights=weights, generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        with torch.no_grad():
            states = [model.layers[0](x)]
            for layer, phi in zip(model.layers[1:], model.activations, strict=False):
                update = layer(phi(states[-1]))
                same = update.shape == states[-1].shape
                states.append(carry(states[-1], update, skip) if same else update)
        yield states


def first_covariance(images, conv):
    p = solve("crelu", sparsity=0.9, clip=1.0)
    return convolve(image_covariance(images), conv, p.q - p.sigma_b2, p.sigma_b2)


def measured(networks, layer=-1):
    """Covariance of one layer's pre-activations in every network, by channel means."""
    return np.stack([image_covariance(states[layer].numpy()) for states in networks])


def predicted(layers, images, skip=0.0):
    sigma = first_covariance(images, layers[0])
    for conv in layers[1:]:
        sigma = covariance_layer(crelu(skip), conv, sigma)
    return sigma


def images(n=2, channels=3):
    smooth = np.linspace(-1.0, 1.0, SIZE[1]) + np.linspace(-0.5, 0.5, SIZE[0])[:, None]
    return 0.7 * rng().standard_normal((n, channels, *SIZE)) + smooth


def test_zero_padded_networks_have_the_predicted_covariance(ledger):
    x = images()
    sample = measured(network_states(ZEROS, x))
    assert not disagrees(sample, predicted([ZEROS] * 5, x))
    ledger.record("spatial_networks", worst_t(sample, predicted([ZEROS] * 5, x)), n=len(sample))
    assert disagrees(sample, predicted([CIRCULAR] * 5, x))
    # a fan_in that counts the taps inside only would keep q* at the edge: circular variances
    assert disagrees(np.einsum("nabcabc->nabc", sample), np.ones((2, *SIZE)))


def test_strides_and_skip_as_in_real_networks(ledger):
    x = images(n=1)
    networks = list(network_states(ZEROS, x, skip=0.5, strides=(2,)))
    layers = [ZEROS, ZEROS, Convolution(3, "zeros", 2), ZEROS, ZEROS]
    for depth in (2, 3, 5):
        sample = measured(networks, depth - 1)
        want = predicted(layers[:depth], x, skip=0.5)
        assert not disagrees(sample, want)
        ledger.record("spatial_networks", worst_t(sample, want), n=len(sample))
    assert disagrees(measured(networks, 1), predicted(layers[:2], x))  # the twin: no skip
    wrapped = [ZEROS, ZEROS, Convolution(3, "circular", 2)]
    assert disagrees(measured(networks, 2), predicted(wrapped, x, skip=0.5))


def test_delta_orthogonal_networks_feel_no_edge():
    x = images(n=1)
    sample = measured(network_states(ZEROS, x, weights="delta"))
    assert not disagrees(sample, predicted([DELTA] * 5, x))
    assert disagrees(sample, predicted([ZEROS] * 5, x))


def test_pooled_moments_of_real_networks(ledger):
    x = images(n=1)
    phi = activation(solve("crelu", sparsity=0.9, clip=1.0))
    pooled = [F.adaptive_avg_pool2d(phi(h), (2, 2)) for _, h, *_ in network_states(CIRCULAR, x)]
    sample = np.stack([image_covariance(h.numpy()) for h in pooled])
    c = activation_covariance(crelu().phi, predicted([CIRCULAR] * 2, x))
    assert not disagrees(sample, average_pool(c, 2))
    ledger.record("spatial_networks", worst_t(sample, average_pool(c, 2)), n=len(sample))
    unpooled = np.full_like(sample[0], np.einsum("nijnij->nij", c).mean())
    assert disagrees(sample, unpooled)  # the twin: as if the pixels of a window were equal


# Errors


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: modes(crelu(), CIRCULAR, SIZE, 1.0, 1.5), "rho = 1.5"),
        (lambda: image_covariance(np.ones((3, 6, 5))), "images of shape .3, 6, 5."),
        (lambda: image_covariance(np.full((1, 1, 2, 2), math.nan)), "an image holds nan"),
        (lambda: convolve(some_identity(), CIRCULAR, 1.0, -0.5), "sigma_b2 -0.5: these are var"),
        (lambda: activation_covariance(crelu().phi, np.eye(30)), "sigma of shape .30, 30."),
        (lambda: activation_covariance(crelu().phi, 2.0 - some_identity()), "correlation of 2"),
        (lambda: convolve(np.ones((1, 2, 2)), CIRCULAR, 1.0, 0.0), "c of shape .1, 2, 2."),
        (lambda: average_pool(some_identity(), 0), "grid 0: must be"),
        (lambda: average_pool(some_identity(), 2, kind="max"), "pooling 'max': only the average"),
    ],
)
def test_bad_input_is_refused(make, says):
    with pytest.raises(InvalidInput, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


def some_identity():
    return np.eye(4).reshape(1, 2, 2, 1, 2, 2)
