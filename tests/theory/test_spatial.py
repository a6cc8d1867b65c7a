"""Variances and gradients over positions: identities, the profile at an edge, and real layers.

Statistical tests: t-tests of the mean over independent networks, Bonferroni over all entries, with
the false-alarm rate ALARM for a whole test; each has a twin that must fail.
"""

import math

import mpmath as mp
import numpy as np
import pytest
import torch
from torch import nn

from cases import ACTIVATIONS, point
from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, activation
from sparsefield.nn.networks import carry
from sparsefield.theory import NotConverged, VarianceMap, gaussian, piecewise, solve
from sparsefield.theory.convolution import Convolution
from sparsefield.theory.spatial import (
    backward,
    chi1,
    edge_decay,
    fixed_profile,
    variance_layer,
    variances,
)

from . import reference
from .fields import (
    CIRCULAR,
    DELTA,
    SIZE,
    ZEROS,
    covariance_layer,
    crelu,
    disagrees,
    rng,
    some_variances,
    worst_t,
)

# Identities


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_constant_images_follow_the_dense_map(name):
    vmap = VarianceMap(ACTIVATIONS[name], 1.3, 0.4, skip=0.3)
    flat = np.full(SIZE, 0.7)
    for conv in (CIRCULAR, DELTA, Convolution(5, "circular")):
        np.testing.assert_allclose(variance_layer(vmap, conv, flat), vmap(0.7), rtol=1e-13)
        np.testing.assert_allclose(chi1(vmap, conv, flat), vmap.chi1(0.7), rtol=1e-13)


@pytest.mark.parametrize("family", ["crelu 90%", "cst 85%"])
def test_scale_identity(family):
    one, four = (point(family, q) for q in (1.0, 4.0))
    small = fixed_profile(one.variance_map(), ZEROS, SIZE, 1.0)
    large = fixed_profile(four.variance_map(), ZEROS, SIZE, 4.0)
    np.testing.assert_allclose(large.q, 4.0 * small.q, rtol=1e-11)
    np.testing.assert_allclose(large.chi1, small.chi1, rtol=1e-11)
    assert large.image_chi1 == pytest.approx(small.image_chi1, rel=1e-11)


def test_variances_chain_layers_of_all_kinds():
    layers = [ZEROS, Convolution(3, "zeros", 2), CIRCULAR]
    fields = variances(crelu(skip=0.5), layers, some_variances())
    assert [f.shape for f in fields] == [SIZE, SIZE, (3, 3), (3, 3)]
    plain = variance_layer(crelu(), layers[1], fields[1])  # the stride drops the skip
    np.testing.assert_array_equal(fields[2], plain)


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
@pytest.mark.parametrize("skip", [0.0, 0.9])
def test_a_layer_is_the_double_loop(ledger, conv, skip):
    q = np.stack([some_variances((4, 3)), some_variances((3, 4)).T])
    got, want = (layer(crelu(skip), conv, q) for layer in (variance_layer, loop_variance))
    np.testing.assert_allclose(got, want, rtol=1e-11)
    ledger.record("spatial_variance", np.abs(got / want - 1.0).max(), n=got.size)


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
    x = rng().standard_normal((1, *size))
    pair = np.concatenate([x, x + 1e-3])
    sigma = 0.5 + 0.5 * np.einsum("nhw,mij->nhwmij", pair, pair)
    gaps = []
    for _ in range(12):
        sigma = covariance_layer(vmap, conv, sigma)
        gap = (sigma[0, ..., 0, :, :] + sigma[1, ..., 1, :, :]) / 2.0 - sigma[0, ..., 1, :, :]
        gaps.append(float(np.einsum("ijij->", gap)))
    factor = (gaps[11] / gaps[8]) ** (1 / 3)
    assert factor == pytest.approx(profile.image_chi1, rel=0.02)
    assert (factor == pytest.approx(1.0, rel=0.02)) is (conv is CIRCULAR)


@pytest.mark.parametrize("conv", [ZEROS, CIRCULAR], ids=str)
def test_positions_stay_apart_where_there_is_an_edge(conv):
    sigma, found = np.eye(12).reshape(1, 3, 4, 1, 3, 4), []
    for _ in range(60):
        sigma = covariance_layer(crelu(), conv, sigma)
        ends = sigma[0, 0, 0, 0, 0, 0] * sigma[0, 1, 2, 0, 1, 2]
        found.append(sigma[0, 0, 0, 0, 1, 2] / ends**0.5)
    assert bool(found[-1] < 0.95) is (conv is ZEROS)
    assert bool(found[-1] > 0.99) is (conv is CIRCULAR)


@pytest.mark.parametrize("kernel", [3, 5])
def test_deviation_decays_from_a_straight_edge(kernel):
    conv = Convolution(kernel, "zeros")
    deviation = 1.0 - fixed_profile(crelu(), conv, (50, 50), 1.0).q[25]
    rates = deviation[12:16] / deviation[11:15]
    np.testing.assert_allclose(rates, edge_decay(crelu(), conv, 1.0), rtol=3e-3)


def test_edge_decay_at_the_ends():
    assert edge_decay(crelu(), DELTA, 1.0) == 0.0
    assert edge_decay(solve("relu", sparsity=0.9).variance_map(), ZEROS, 1.0) == 1.0


def test_a_variance_that_dies_at_the_edge_has_no_profile():
    he = VarianceMap(piecewise.relu(), 2.0, 0.0)
    with pytest.raises(NotConverged, match="fall to zero"):
        fixed_profile(he, ZEROS, (3, 3), 1.0)


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


# Real layers


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


def network_squares(conv, images, *, skip=0.0, strides=(), weights="gaussian", networks=100):
    """Mean squares over the channels of every layer of random CNNs, [networks][layers]."""
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
        yield [state.double().square().mean(dim=1).numpy() for state in states]


def predicted(layers, images, skip=0.0):
    first = layers[0].average((images**2).mean(axis=1).reshape(len(images), -1), SIZE)
    q = 1.0 + (first.reshape(len(images), *SIZE) - 1.0) * (1.0 - crelu().sigma_b2)
    return variances(crelu(skip), layers[1:], q)[-1]


def images(n=1, channels=3):
    smooth = np.linspace(-1.0, 1.0, SIZE[1]) + np.linspace(-0.5, 0.5, SIZE[0])[:, None]
    return 0.7 * rng().standard_normal((n, channels, *SIZE)) + smooth


def test_zero_padded_networks_have_the_predicted_variances(ledger):
    x = images(n=2)
    sample = np.stack([squares[-1] for squares in network_squares(ZEROS, x)])
    assert not disagrees(sample, predicted([ZEROS] * 5, x))
    ledger.record("spatial_networks", worst_t(sample, predicted([ZEROS] * 5, x)), n=len(sample))
    assert disagrees(sample, predicted([CIRCULAR] * 5, x))
    # a fan_in that counts the taps inside only would keep q* at the edge: circular variances
    assert disagrees(sample, np.ones((2, *SIZE)))


def test_strides_and_skip_as_in_real_networks(ledger):
    x = images()
    networks = list(network_squares(ZEROS, x, skip=0.5, strides=(2,)))
    layers = [ZEROS, ZEROS, Convolution(3, "zeros", 2), ZEROS, ZEROS]
    for depth in (2, 3, 5):
        sample = np.stack([squares[depth - 1] for squares in networks])
        want = predicted(layers[:depth], x, skip=0.5)
        assert not disagrees(sample, want)
        ledger.record("spatial_networks", worst_t(sample, want), n=len(sample))
    second, third = (np.stack([squares[layer] for squares in networks]) for layer in (1, 2))
    assert disagrees(second, predicted(layers[:2], x))  # the twin: no skip
    wrapped = [ZEROS, ZEROS, Convolution(3, "circular", 2)]
    assert disagrees(third, predicted(wrapped, x, skip=0.5))


def test_delta_orthogonal_networks_feel_no_edge():
    x = images()
    sample = np.stack([squares[-1] for squares in network_squares(ZEROS, x, weights="delta")])
    assert not disagrees(sample, predicted([DELTA] * 5, x))
    assert disagrees(sample, predicted([ZEROS] * 5, x))


# Errors


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: variance_layer(crelu(), ZEROS, [1.0, 2.0]), "q of shape .2.: must be"),
        (lambda: variance_layer(crelu(), ZEROS, [[1.0, 0.0]]), "q = 0.0: a variance"),
        (lambda: backward(crelu(), ZEROS, np.ones(SIZE), np.ones((3, 3))), "output is .6, 5."),
        (lambda: fixed_profile(crelu(), Convolution(stride=2), SIZE, 1.0), "stride 2: an image"),
        (lambda: fixed_profile(crelu(), ZEROS, SIZE, 2.0), "q 2.0: V.q. = 1.65.*not a fixed"),
        (lambda: fixed_profile(crelu(), ZEROS, SIZE, math.nan), "q = nan"),
        (lambda: variance_layer(batch(), CIRCULAR, np.ones(SIZE)), "a batch .2,. of activations"),
    ],
)
def test_bad_input_is_refused(make, says):
    with pytest.raises(InvalidInput, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


def batch():
    return VarianceMap(piecewise.crelu(np.array([1.0, 1.2]), 1.0), 1.0, 0.1)
