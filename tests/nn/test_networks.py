"""The papers' networks keep q and gradients level over 100 layers, and a wrong sigma is caught."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN, activation, init_
from sparsefield.nn.networks import carry
from sparsefield.theory import solve
from sparsefield.theory.chain import simulate
from sparsefield.theory.finite_width import linear_std
from sparsefield.theory.gradients import gradient_factor

POINT = solve("crelu", sparsity=0.9, q=1.0, clip=1.0)
WRONG = dataclasses.replace(POINT, sigma_w2=1.02 * POINT.sigma_w2)  # the negative twin
WIDTHS = [90, 130]  # alternating: no layer is square
DEPTH = 100
FALSE_ALARM = 4.5  # standard errors: 7e-6 a test


def generator(seed):
    return torch.Generator().manual_seed(seed)


def profiles(point, networks=250):
    """Through real Linear layers: q and the factor on squared gradients, [networks, depth]."""
    widths = [WIDTHS[i % 2] for i in range(DEPTH + 1)]
    layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip([64, *widths], widths, strict=False))
    phi = activation(POINT)
    x = torch.randn(1, 64, generator=generator(0))
    moment = x.pow(2).mean().item()
    q, factors = [], []
    for seed in range(networks):
        init_(layers, point, first="0", head=None, input_moment=moment, generator=generator(seed))
        hs = [layers[0](x)]
        for layer in layers[1:]:
            hs.append(layer(phi(hs[-1])))
            hs[-1].retain_grad()
        hs[0].retain_grad()
        hs[-1].backward(torch.randn(hs[-1].shape, generator=generator(seed + 10**6)))
        q.append([h.detach().pow(2).mean().item() for h in hs[:DEPTH]])
        g = np.array([h.grad.double().pow(2).sum().item() for h in hs])
        # a layer without one active unit ends the gradient: no factor below it
        factors.append(np.divide(g[:-1], g[1:], out=np.full(DEPTH, np.nan), where=g[1:] > 0))
    return np.array(q), np.array(factors)


@pytest.fixture(scope="module")
def right():
    return profiles(POINT)


@pytest.fixture(scope="module")
def wrong():
    return profiles(WRONG)


def chain():
    widths = [WIDTHS[i % 2] for i in range(DEPTH)]
    return simulate(POINT.variance_map(), 1.0, width=widths, depth=DEPTH, draws=8000, seed=1)


def z_of_q(q, path):
    """Of the mean of q over layers, networks as the independent units."""
    mine, theirs = q[:, 1:].mean(axis=1), path[:, 1:].mean(axis=1)
    error = math.hypot(mine.std() / len(mine) ** 0.5, theirs.std() / len(theirs) ** 0.5)
    return (mine.mean() - theirs.mean()) / error


def z_of_factor(factors, path):
    """Of the mean factor on squared gradients per layer, against theory over the chain."""
    vmap, qs = POINT.variance_map(), path[::50, 1:]
    expected = np.mean([gradient_factor(vmap, qs, width).mean() for width in WIDTHS])
    mine = np.nanmean(factors, axis=1)
    return (mine.mean() - expected) / (mine.std() / len(mine) ** 0.5)


@pytest.mark.slow
def test_q_stays_in_the_finite_width_band_over_100_layers(right):
    q, _ = right
    path = chain()
    assert abs(z_of_q(q, path)) < FALSE_ALARM
    # layer by layer: a sample of n units adds 2 Q^2 / n to the chain's variance
    widths = np.array([WIDTHS[i % 2] for i in range(DEPTH)])
    spread = np.sqrt(path.var(axis=0) + 2.0 * (path**2).mean(axis=0) / widths)
    z = (q.mean(axis=0) - path.mean(axis=0)) / (spread / math.sqrt(len(q)))
    assert np.abs(z).max() < 5.0
    np.testing.assert_allclose(q.std(axis=0)[50:].mean(), spread[50:].mean(), rtol=0.1)


@pytest.mark.slow
def test_squared_gradients_stay_level(right):
    _, factors = right
    assert abs(z_of_factor(factors, chain())) < FALSE_ALARM
    # chi_1 alone misses the O(1 / width) that a narrow sparse layer adds
    plain = float(POINT.variance_map().chi1(1.0))
    assert np.nanmean(factors) > plain + 0.01


@pytest.mark.slow
def test_a_sigma_w2_two_per_cent_off_is_caught(wrong):
    q, factors = wrong
    assert z_of_q(q, chain()) > FALSE_ALARM
    assert z_of_factor(factors, chain()) > FALSE_ALARM


def constant_image_profile(point, networks=40, channels=(24, 40), depth=40):
    """q by layer of circular convolutions over a constant image: the chain at width = channels."""
    sizes = [channels[i % 2] for i in range(depth)]
    layers = nn.ModuleList(
        nn.Conv2d(a, b, 3, padding=1, padding_mode="circular")
        for a, b in zip([3, *sizes], sizes, strict=False)
    )
    phi = activation(POINT)
    x = torch.ones(1, 3, 4, 4)
    q = []
    for seed in range(networks):
        init_(layers, point, first="0", head=None, generator=generator(seed))
        h, row = layers[0](x), []
        for layer in layers[1:]:
            row.append(h.pow(2).mean().item())
            h = layer(phi(h))
        q.append(row)
    path = simulate(
        POINT.variance_map(), 1.0, width=sizes[:-1], depth=depth - 1, draws=8000, seed=2
    )
    return np.array(q), path


@pytest.mark.slow
def test_convolutions_follow_the_chain_and_the_twin_does_not():
    with torch.no_grad():
        assert abs(z_of_q(*constant_image_profile(POINT))) < FALSE_ALARM
        off = dataclasses.replace(POINT, sigma_w2=1.25 * POINT.sigma_w2)
        assert z_of_q(*constant_image_profile(off)) > FALSE_ALARM


@torch.no_grad()
def layer_qs(model, x):
    """q of every layer as the model's own forward makes it."""
    qs = []
    hooks = [
        phi.register_forward_pre_hook(lambda _, args: qs.append(args[0].pow(2).mean().item()))
        for phi in model.activations
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    return np.array(qs)


@torch.no_grad()
def test_forward_is_the_formula_with_a_skip():
    dnn = DNN(20, 30, 3, 4, POINT, skip=0.7, generator=generator(0)).double()
    x = torch.randn(5, 20, dtype=torch.float64, generator=generator(1))
    (a, b, c), phi = dnn.layers, dnn.activations[0]
    h1 = a(x)
    h2 = math.sqrt(0.7) * h1 + math.sqrt(0.3) * b(phi(h1))
    h3 = math.sqrt(0.7) * h2 + math.sqrt(0.3) * c(phi(h2))
    torch.testing.assert_close(dnn(x), dnn.head(phi(h3)))


@torch.no_grad()
def test_cnn_forward_is_the_formula_and_strided_layers_have_no_skip():
    cnn = CNN(3, 6, 3, 4, POINT, skip=0.7, strides=[2], pool=2, generator=generator(0)).double()
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64, generator=generator(1))
    (a, b, c), phi = cnn.layers, cnn.activations[0]
    h1 = a(x)
    h2 = math.sqrt(0.7) * h1 + math.sqrt(0.3) * b(phi(h1))
    pooled = nn.functional.adaptive_avg_pool2d(phi(c(phi(h2))), 2)
    torch.testing.assert_close(cnn(x), cnn.head(pooled.flatten(1)))


def test_networks_export_and_vmap():
    model = DNN(20, 30, 3, 4, POINT, skip=0.7, generator=generator(0))
    x = torch.randn(5, 20, generator=generator(1))
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))
    one_by_one = torch.func.vmap(lambda row: model(row[None])[0])(x)
    torch.testing.assert_close(one_by_one, model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("skip", [0.0, 0.9])
def test_dnn_of_100_layers_keeps_q(skip):
    x = torch.randn(64, 50, generator=generator(1))
    model = DNN(50, 300, 100, 10, POINT, skip=skip, generator=generator(0))
    chain_std = linear_std(POINT.variance_map(), 1.0, 300)
    band = 5.0 * math.hypot(chain_std, math.sqrt(2.0 / 300))
    assert np.abs(layer_qs(model, x) - 1.0).max() < (band if skip == 0.0 else 2.0 * band)
    assert model(x).shape == (64, 10)


def test_dnn_with_pytorchs_default_collapses():
    x = torch.randn(64, 50, generator=generator(1))
    model = DNN(50, 300, 30, 10, POINT, init="torch", generator=generator(0))
    assert layer_qs(model, x)[-1] < 0.01
    outputs = model(x)
    assert outputs.std(dim=0).max() < 1e-6  # every input gives the same logits


@pytest.mark.parametrize("weights", ["gaussian", "delta"])
@pytest.mark.parametrize("skip", [0.0, 0.5])
def test_cnn_keeps_q_with_circular_padding(weights, skip):
    x = torch.randn(8, 3, 12, 10, generator=generator(2))
    x = x / x.pow(2).mean().sqrt()
    qs = [
        layer_qs(CNN(3, 48, 20, 5, POINT, skip=skip, weights=weights, generator=generator(s)), x)
        for s in range(4)
    ]
    assert np.mean(qs) == pytest.approx(1.0, rel=0.15)


def test_cnn_with_zero_padding_loses_variance_at_the_edge():
    x = torch.randn(8, 3, 10, 10, generator=generator(2))
    means = {
        padding: np.mean(
            [
                layer_qs(CNN(3, 48, 12, 5, POINT, padding=padding, generator=generator(s)), x)[1:]
                for s in range(4)
            ]
        )
        for padding in ("circular", "zeros")
    }
    assert means["zeros"] < 0.95 * means["circular"]


def test_cnn_shapes_strides_and_pool():
    model = CNN(3, 8, 4, 7, POINT, strides=[1, 3], pool=2, skip=0.5, generator=generator(0))
    assert model(torch.randn(2, 3, 16, 12)).shape == (2, 7)
    assert [layer.stride for layer in model.layers] == [(1, 1), (2, 2), (1, 1), (2, 2)]
    assert model.head.in_features == 8 * 4


def test_skip_zero_is_the_plain_network_and_the_formula_holds():
    h, update = torch.randn(3, 4), torch.randn(3, 4)
    assert carry(h, update, 0.0) is update
    want = math.sqrt(0.3) * h + math.sqrt(0.7) * update
    torch.testing.assert_close(carry(h, update, 0.3), want)


def test_construction_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    DNN(5, 6, 2, 3, POINT, generator=generator(0))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_scale_identity_of_whole_networks(weights):
    """Network B = network A in units c: hidden W equal, logits equal (PAPER: scale identity)."""
    c, x = 3.0, torch.randn(5, 20, dtype=torch.float64)
    scaled = solve("crelu", sparsity=0.9, q=c * c, clip=1.0)
    a = DNN(20, 30, 6, 4, POINT, weights=weights, skip=0.3, generator=generator(0)).double()
    b = DNN(20, 30, 6, 4, scaled, weights=weights, skip=0.3, generator=generator(0)).double()
    b.load_state_dict(
        {k: v for k, v in a.state_dict().items() if "activations" not in k}
        | {k: v for k, v in b.state_dict().items() if "activations" in k}
    )
    with torch.no_grad():
        for layer in b.layers:
            layer.bias *= c
        b.layers[0].weight *= c
        b.head.weight /= c
    torch.testing.assert_close(a(x), b(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: DNN(5, 6, 0, 3, POINT), "depth 0"),
        (lambda: DNN(5, 6, 2, 3, POINT, skip=1.0), "skip 1.0"),
        (lambda: DNN(5, 6, 2, 3, POINT, init="he"), "init 'he'"),
        (lambda: CNN(3, 6, 2, 3, POINT, padding="reflect"), "padding 'reflect'"),
        (lambda: CNN(3, 6, 2, 3, POINT, strides=[2]), r"strides \[2\]"),
        (lambda: CNN(3, 6, 2, 3, POINT, pool=0), "pool 0"),
    ],
)
def test_bad_sizes_are_clear_errors(make, says):
    with pytest.raises(InvalidInput, match=says):
        make()
