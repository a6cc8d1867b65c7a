"""Variances and covariances over positions against loops, PyTorch's own layers, and real CNNs.

Statistical tests: t-tests of the mean over independent networks, Bonferroni over all entries, with
the false-alarm rate ALARM for a whole test; each has a twin that must fail.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from cases import ACTIVATIONS, point
from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, activation
from sparsefield.nn.networks import carry
from sparsefield.theory import NotConverged, VarianceMap, gaussian, piecewise, solve
from sparsefield.theory.bivariate import covariance
from sparsefield.theory.spatial import (
    Convolution,
    activation_covariance,
    average_pool,
    backward,
    chi1,
    convolve,
    covariance_layer,
    depth_scale,
    edge_decay,
    fixed_profile,
    image_covariance,
    modes,
    variance_layer,
    variances,
)

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


def disagrees(samples, expected):
    """Whether the mean of ``samples`` [networks, ...] is further from ``expected`` than chance."""
    t = (samples.mean(axis=0) - expected) / (samples.std(axis=0, ddof=1) / len(samples) ** 0.5)
    return np.abs(t).max() > stats.t.ppf(1.0 - ALARM / 2.0 / t.size, len(samples) - 1)


# Geometry: PyTorch's layers are the reference


def torch_average(field, conv):
    layer = nn.Conv2d(
        1, 1, conv.kernel, conv.stride, conv.radius, padding_mode=conv.padding, bias=False
    ).double()
    nn.init.constant_(layer.weight, 1.0 / conv.kernel**2)
    return layer(torch.from_numpy(field)[None, None])[0, 0].detach().numpy()


@NAMED
@pytest.mark.parametrize("size", [SIZE, (7, 4), (2, 2)])
def test_average_is_that_of_conv2d(conv, size):
    field = rng().standard_normal(size)
    got = conv.average(field.ravel(), size).reshape(conv.output_size(size))
    np.testing.assert_allclose(got, torch_average(field, conv), atol=1e-14)


def test_conv2d_tells_the_paddings_apart():
    field = some_variances()
    got = ZEROS.average(field.ravel(), SIZE).reshape(SIZE)
    assert not np.allclose(got, torch_average(field, CIRCULAR), rtol=1e-2)


@NAMED
def test_spread_is_the_adjoint_of_average(conv):
    field, above = (rng().standard_normal(math.prod(s)) for s in (SIZE, conv.output_size(SIZE)))
    forth, back = conv.average(field, SIZE) @ above, field @ conv.spread(above, SIZE)
    assert forth == pytest.approx(back, abs=1e-12)


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


@pytest.mark.parametrize(
    "conv", [CIRCULAR, ZEROS, DELTA, Convolution(3, "zeros", 2), Convolution(3, stride=2)], ids=str
)
def test_covariance_layer_is_the_double_loop(conv):
    sigma = some_covariance(size=(3, 2))
    got = covariance_layer(crelu(), conv, sigma)
    np.testing.assert_allclose(got, loop_covariance(crelu(), conv, sigma), rtol=1e-11)


@pytest.mark.parametrize("conv", [CIRCULAR, ZEROS, DELTA, Convolution(3, "zeros", 2)], ids=str)
@pytest.mark.parametrize("skip", [0.0, 0.9])
def test_diagonal_of_the_covariance_is_the_variance(conv, skip):
    sigma = some_covariance(size=(4, 3))
    after = covariance_layer(crelu(skip), conv, sigma)
    out = conv.output_size((4, 3))
    diagonal = [np.diagonal(s.reshape(s.shape[0] * math.prod(s.shape[1:3]), -1)) for s in
                (sigma, after)]  # fmt: skip
    got = variance_layer(crelu(skip), conv, diagonal[0].reshape(2, 4, 3))
    np.testing.assert_allclose(got, diagonal[1].reshape(2, *out), rtol=1e-12)


def test_relu_covariance_is_the_arc_cosine_kernel():
    sigma = some_covariance(size=(3, 2))
    flat = sigma.reshape(12, 12)
    scale = np.sqrt(np.outer(np.diag(flat), np.diag(flat)))
    theta = np.arccos(np.clip(flat / scale, -1.0, 1.0))
    kernel = scale * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2.0 * np.pi)
    got = activation_covariance(piecewise.relu(), sigma).reshape(12, 12)
    np.testing.assert_allclose(got, kernel, rtol=1e-7, atol=1e-9)


# Identities


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_constant_images_follow_the_dense_map(name):
    vmap = VarianceMap(ACTIVATIONS[name], 1.3, 0.4, skip=0.3)
    flat = np.full(SIZE, 0.7)
    for conv in (CIRCULAR, DELTA, Convolution(5, "circular")):
        np.testing.assert_allclose(variance_layer(vmap, conv, flat), vmap(0.7), rtol=1e-13)
        np.testing.assert_allclose(chi1(vmap, conv, flat), vmap.chi1(0.7), rtol=1e-13)


def test_averaging_leaves_a_stationary_covariance_alone():
    wave = 0.5 + 0.3 * np.cos(2.0 * np.pi * np.arange(4) / 4)
    line = wave[(np.arange(4)[:, None] - np.arange(4)) % 4]
    sigma = (1.5 * np.einsum("ik,jm->ijkm", line, line))[None, :, :, None]
    gaussian_taps = covariance_layer(crelu(), CIRCULAR, sigma)
    np.testing.assert_allclose(gaussian_taps, covariance_layer(crelu(), DELTA, sigma), rtol=1e-13)
    assert not np.allclose(gaussian_taps, covariance_layer(crelu(), ZEROS, sigma), rtol=1e-2)


@pytest.mark.parametrize("family", ["crelu 90%", "cst 85%"])
def test_scale_identity(family):
    one, four = (point(family, q) for q in (1.0, 4.0))
    small = fixed_profile(one.variance_map(), ZEROS, SIZE, 1.0)
    large = fixed_profile(four.variance_map(), ZEROS, SIZE, 4.0)
    np.testing.assert_allclose(large.q, 4.0 * small.q, rtol=1e-11)
    np.testing.assert_allclose(large.chi1, small.chi1, rtol=1e-11)
    assert large.image_chi1 == pytest.approx(small.image_chi1, rel=1e-11)


# The fixed profile


def test_profile_is_fixed_symmetric_and_lower_at_the_edge():
    profile = fixed_profile(crelu(), ZEROS, (9, 7), 1.0)
    np.testing.assert_allclose(variance_layer(crelu(), ZEROS, profile.q), profile.q, rtol=1e-12)
    np.testing.assert_allclose(profile.q, profile.q[::-1, ::-1], rtol=1e-12)
    assert profile.q[0, 0] < profile.q[0, 3] < profile.q[4, 3] < 1.0
    assert profile.sparsity[0, 0] > profile.sparsity[4, 3] > 0.9
    np.testing.assert_allclose(profile.sparsity, gaussian.sparsity(crelu().phi, profile.q))
    np.testing.assert_allclose(profile.chi1, chi1(crelu(), ZEROS, profile.q))


@pytest.mark.parametrize("conv", [CIRCULAR, DELTA], ids=str)
def test_no_edge_no_profile(conv):
    profile = fixed_profile(crelu(), conv, SIZE, 1.0)
    np.testing.assert_allclose(profile.q, 1.0, rtol=1e-12)
    assert profile.image_chi1 == pytest.approx(1.0, abs=1e-12)
    assert (profile.share(), profile.reach()) == (0.0, 0)


def test_reach_and_share_of_papers_image():
    profile = fixed_profile(crelu(), ZEROS, (28, 28), 1.0)
    assert profile.reach(0.01) == 3
    assert profile.share(0.01) == pytest.approx(1.0 - (22 / 28) ** 2, abs=0.01)
    assert profile.deviates(0.01).sum() == profile.share(0.01) * 28**2
    assert not profile.deviates(0.01)[3:-3, 3:-3].any()


def test_skip_changes_the_speed_and_not_the_profile():
    plain = fixed_profile(crelu(), ZEROS, SIZE, 1.0)
    skip = fixed_profile(crelu(skip=0.8), ZEROS, SIZE, 1.0)
    np.testing.assert_allclose(skip.q, plain.q, rtol=1e-11)
    np.testing.assert_allclose(skip.chi1, 0.8 + 0.2 * plain.chi1, rtol=1e-11)
    assert skip.image_chi1 == pytest.approx(0.8 + 0.2 * plain.image_chi1, rel=1e-11)
    assert edge_decay(crelu(skip=0.8), ZEROS, 1.0) == pytest.approx(edge_decay(crelu(), ZEROS, 1.0))


@pytest.mark.parametrize("size", [SIZE, (3, 4)], ids=["lanczos", "dense"])
def test_image_chi1_is_the_growth_of_iterated_gradients(size):
    vmap = crelu()
    profile = fixed_profile(vmap, ZEROS, size, 1.0)
    g = np.ones(size)
    for _ in range(200):
        before, g = g, backward(vmap, ZEROS, profile.q, g)
        g, growth = g / g.sum(), g.sum() / before.sum()
    assert growth == pytest.approx(profile.image_chi1, rel=1e-10)


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


@pytest.mark.parametrize("kernel", [3, 5])
def test_deviation_decays_from_a_straight_edge(kernel):
    conv = Convolution(kernel, "zeros")
    deviation = 1.0 - fixed_profile(crelu(), conv, (50, 50), 1.0).q[25]
    rates = deviation[12:16] / deviation[11:15]
    np.testing.assert_allclose(rates, edge_decay(crelu(), conv, 1.0), rtol=3e-3)


def test_edge_decay_at_the_ends():
    assert edge_decay(crelu(), DELTA, 1.0) == 0.0
    assert edge_decay(solve("relu", sparsity=0.9).variance_map(), ZEROS, 1.0) == 1.0


def test_variances_chain_layers_of_all_kinds():
    layers = [ZEROS, Convolution(3, "zeros", 2), CIRCULAR]
    fields = variances(crelu(skip=0.5), layers, some_variances())
    assert [f.shape for f in fields] == [SIZE, SIZE, (3, 3), (3, 3)]
    plain = variance_layer(crelu(), layers[1], fields[1])  # the stride drops the skip
    np.testing.assert_array_equal(fields[2], plain)


# Stride


def test_stride_two_loses_at_two_edges_of_an_even_image_only():
    q = variance_layer(crelu(), Convolution(3, "zeros", 2), np.ones((8, 8)))
    np.testing.assert_allclose(q[1:, 1:], 1.0, rtol=1e-13)
    assert (q[0] < 0.9).all()
    assert (q[:, 0] < 0.9).all()


def test_stride_two_makes_a_chequerboard_of_gradients():
    got = chi1(crelu(), Convolution(stride=2), np.ones((4, 6)))
    np.testing.assert_allclose(9.0 * got[:2, :2], [[1.0, 2.0], [2.0, 4.0]], rtol=1e-12)
    assert got.mean() == pytest.approx(0.25)
    lone = chi1(crelu(), Convolution(stride=2, weights="delta"), np.ones((4, 6)))
    np.testing.assert_allclose(lone[:2, :2], [[1.0, 0.0], [0.0, 0.0]], atol=1e-12)


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


def test_zero_padded_networks_have_the_predicted_covariance():
    x = images()
    sample = measured(network_states(ZEROS, x))
    assert not disagrees(sample, predicted([ZEROS] * 5, x))
    assert disagrees(sample, predicted([CIRCULAR] * 5, x))
    # a fan_in that counts the taps inside only would keep q* at the edge: circular variances
    assert disagrees(np.einsum("nabcabc->nabc", sample), np.ones((2, *SIZE)))


def test_strides_and_skip_as_in_real_networks():
    x = images(n=1)
    networks = list(network_states(ZEROS, x, skip=0.5, strides=(2,)))
    layers = [ZEROS, ZEROS, Convolution(3, "zeros", 2), ZEROS, ZEROS]
    for depth in (2, 3, 5):
        sample = measured(networks, depth - 1)
        assert not disagrees(sample, predicted(layers[:depth], x, skip=0.5))
    assert disagrees(measured(networks, 1), predicted(layers[:2], x))  # the twin: no skip
    wrapped = [ZEROS, ZEROS, Convolution(3, "circular", 2)]
    assert disagrees(measured(networks, 2), predicted(wrapped, x, skip=0.5))


def test_delta_orthogonal_networks_feel_no_edge():
    x = images(n=1)
    sample = measured(network_states(ZEROS, x, weights="delta"))
    assert not disagrees(sample, predicted([DELTA] * 5, x))
    assert disagrees(sample, predicted([ZEROS] * 5, x))


def test_pooled_moments_of_real_networks():
    x = images(n=1)
    phi = activation(solve("crelu", sparsity=0.9, clip=1.0))
    pooled = [F.adaptive_avg_pool2d(phi(h), (2, 2)) for _, h, *_ in network_states(CIRCULAR, x)]
    sample = np.stack([image_covariance(h.numpy()) for h in pooled])
    c = activation_covariance(crelu().phi, predicted([CIRCULAR] * 2, x))
    assert not disagrees(sample, average_pool(c, 2))
    unpooled = np.full_like(sample[0], np.einsum("nijnij->nij", c).mean())
    assert disagrees(sample, unpooled)  # the twin: as if the pixels of a window were equal


@pytest.mark.parametrize("conv", [ZEROS, CIRCULAR, Convolution(3, "zeros", 2)], ids=str)
def test_squared_gradients_of_conv2d(conv):
    vmap, q, out = crelu(), some_variances(), conv.output_size(SIZE)
    phi = activation(solve("crelu", sparsity=0.9, clip=1.0))
    above = rng().uniform(0.5, 2.0, out)
    sample = []
    for seed in range(60):
        draw = torch.Generator().manual_seed(seed)
        h = torch.randn(1, 64, *SIZE, generator=draw) * torch.from_numpy(q).float().sqrt()
        layer = nn.Conv2d(
            64, 64, 3, conv.stride, 1, padding_mode=conv.padding, bias=False
        ).requires_grad_(False)
        layer.weight.normal_(0.0, (vmap.sigma_w2 / 64 / 9) ** 0.5, generator=draw)
        g = torch.randn(1, 64, *out, generator=draw) * torch.from_numpy(above).float().sqrt()
        (gradient,) = torch.autograd.grad(layer(phi(h.requires_grad_())), h, g)
        sample.append(gradient.square().mean(dim=(0, 1)).numpy())
    assert not disagrees(np.stack(sample), backward(vmap, conv, q, above))
    twin = Convolution(3, "circular" if conv.padding == "zeros" else "zeros", conv.stride)
    assert disagrees(np.stack(sample), backward(vmap, twin, q, above))


# Errors


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Convolution(kernel=4), "kernel 4: an even one"),
        (lambda: Convolution(kernel=0), "kernel 0: must be a whole number"),
        (lambda: Convolution(stride=0), "stride 0: must be a whole number"),
        (lambda: Convolution(stride=1.5), "stride 1.5: must be a whole number"),
        (lambda: Convolution(stride=math.nan), "stride nan: must be a whole number"),
        (lambda: Convolution(padding="reflect"), "padding 'reflect': choose"),
        (lambda: Convolution(weights="sparse"), "weights 'sparse': choose"),
        (lambda: Convolution(5).reads((1, 5)), "height 1: circular padding of 2"),
        (lambda: Convolution().reads((5, 0)), "width 0: must be"),
        (lambda: Convolution().reads((5,)), "must be .height, width"),
        (lambda: Convolution(stride=2).transfer(SIZE), "stride 2: Fourier"),
        (lambda: ZEROS.transfer(SIZE), "padding zeros.*use fixed_profile"),
        (lambda: variance_layer(crelu(), ZEROS, [1.0, 2.0]), "q of shape .2.: must be"),
        (lambda: variance_layer(crelu(), ZEROS, [[1.0, 0.0]]), "q = 0.0: a variance"),
        (lambda: backward(crelu(), ZEROS, np.ones(SIZE), np.ones((3, 3))), "output is .6, 5."),
        (lambda: fixed_profile(crelu(), Convolution(stride=2), SIZE, 1.0), "stride 2: an image"),
        (lambda: fixed_profile(crelu(), ZEROS, SIZE, 2.0), "q 2.0: V.q. = 1.65.*not a fixed"),
        (lambda: fixed_profile(crelu(), ZEROS, SIZE, math.nan), "q = nan"),
        (lambda: modes(crelu(), CIRCULAR, SIZE, 1.0, 1.5), "rho = 1.5"),
        (lambda: image_covariance(np.ones((3, 6, 5))), "images of shape .3, 6, 5."),
        (lambda: image_covariance(np.full((1, 1, 2, 2), math.nan)), "an image holds nan"),
        (lambda: convolve(some_identity(), CIRCULAR, 1.0, -0.5), "sigma_b2 -0.5: these are var"),
        (lambda: activation_covariance(crelu().phi, np.eye(30)), "sigma of shape .30, 30."),
        (lambda: activation_covariance(crelu().phi, 2.0 - some_identity()), "correlation of 2"),
        (lambda: convolve(np.ones((1, 2, 2)), CIRCULAR, 1.0, 0.0), "c of shape .1, 2, 2."),
        (lambda: average_pool(some_identity(), 0), "grid 0: must be"),
        (lambda: average_pool(some_identity(), 2, kind="max"), "pooling 'max': only the average"),
        (lambda: variance_layer(batch(), CIRCULAR, np.ones(SIZE)), "a batch .2,. of activations"),
    ],
)
def test_bad_input_is_refused(make, says):
    with pytest.raises(InvalidInput, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


def some_identity():
    return np.eye(4).reshape(1, 2, 2, 1, 2, 2)


def batch():
    return VarianceMap(piecewise.crelu(np.array([1.0, 1.2]), 1.0), 1.0, 0.1)


def test_circular_padding_is_refused_where_pytorch_refuses_it():
    layer = nn.Conv2d(1, 1, 5, padding=2, padding_mode="circular")
    with pytest.raises(RuntimeError, match="wrapping around more than once"):
        layer(torch.ones(1, 1, 1, 5))
    assert layer(torch.ones(1, 1, 2, 5)).shape[2:] == Convolution(5).output_size((2, 5))


def test_a_variance_that_dies_at_the_edge_has_no_profile():
    he = VarianceMap(piecewise.relu(), 2.0, 0.0)
    with pytest.raises(NotConverged, match="fall to zero"):
        fixed_profile(he, ZEROS, (3, 3), 1.0)
