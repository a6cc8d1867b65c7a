"""Training on lists against dense autograd: convolutions."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparsefield import accelerate
from sparsefield.engine.native import kernels
from sparsefield.engine.training import TrainingEngine
from sparsefield.errors import InvalidInput
from sparsefield.nn import CST, CReLU
from sparsefield.theory import solve

from .chains import randn
from .models import ONE_SIDED, TWO_SIDED, cnn, conv, drawn
from .test_training import (
    ACTIVATIONS,
    SETS,
    as_dense_with_frozen,
    error,
    exact,
    gradients,
    near_no_edge,
    same,
)

pytestmark = pytest.mark.skipif(kernels() is None, reason="built without a compiler")


def compare(model: nn.Module, x, name: str = "", **engine) -> tuple[float, float]:
    """The errors of lists and of dense autograd, against float64."""
    weights = randn(2, *model(x).shape)
    true = gradients(copy.deepcopy(model).double(), x.double(), weights.double())
    dense = gradients(copy.deepcopy(model), x, weights)
    found = gradients(TrainingEngine(model, instruction_set=name), x, weights)
    return error(found, true), error(dense, true)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("point", [ONE_SIDED, TWO_SIDED], ids=["one-sided", "two-sided"])
@pytest.mark.parametrize("skip", [0.0, 0.9])
@pytest.mark.parametrize("padding", ["circular", "zeros"])
def test_gradients_are_as_near_the_truth_as_dense_ones(name, point, skip, padding):
    model = cnn(point, width=33, depth=5, skip=skip, padding=padding, strides=(3,))
    x = randn(1, 5, 3, 9, 7)
    assert near_no_edge(model, x)
    found, dense = compare(model, x, name)
    assert found <= 2 * dense


PAIRS = st.tuples(st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_chain(data):
    """Any kernels, strides, paddings, images, widths, threads: as dense autograd, to rounding."""
    sizes = [
        data.draw(st.sampled_from([1, 3, 8, 17, 33, 70]))
        for _ in range(data.draw(st.integers(2, 4)))
    ]
    layers: list[nn.Module] = [data.draw(ACTIVATIONS)] if data.draw(st.booleans()) else []
    image = [data.draw(st.integers(5, 9)), data.draw(st.integers(5, 9))]
    x = 2 * randn(data.draw(st.integers(0, 99)), data.draw(st.integers(1, 5)), sizes[0], *image)
    for fan_in, out in pairwise(sizes):
        mode = data.draw(st.sampled_from(["zeros", "circular"]))
        kernel = [data.draw(st.integers(1, min(4, n))) for n in image]
        stride = [data.draw(st.integers(1, 3)) for _ in image]
        padding = [data.draw(st.integers(0, min(2, n))) for n in image]
        image = [
            (n + 2 * p - k) // s + 1
            for n, p, k, s in zip(image, padding, kernel, stride, strict=True)
        ]
        options = {"stride": stride, "padding": padding, "padding_mode": mode}
        layers += [conv(fan_in, out, kernel, bias=data.draw(st.booleans()), **options)]
        layers += [data.draw(ACTIVATIONS)]
    model = drawn(*layers)
    if not near_no_edge(model, x):
        return
    torch.set_num_threads(data.draw(st.integers(1, 4)))
    engine = data.draw(st.sampled_from(SETS))
    found, dense = compare(model, x, engine)
    assert found <= 2 * dense + 1e-6


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("phi", [CReLU(0.5, 1.0), CST(0.5, 1.0), nn.ReLU(), nn.ReLU6()], ids=repr)
def test_exactly_at_the_threshold_and_at_the_clip(name, phi, mode):
    options = {"padding": 1, "padding_mode": mode}
    model = exact(phi, conv(5, 18, **options), phi, conv(18, 7, (2, 3), stride=(1, 2), **options))
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(-4, 5, (3, 5, 6, 5), generator=generator) / 2
    at_edge = phi(x) == (phi.m if hasattr(phi, "m") and math.isfinite(phi.m) else 0.0)
    assert at_edge.any()
    weights = torch.ones(model(x).shape)
    found = gradients(TrainingEngine(copy.deepcopy(model), instruction_set=name), x, weights)
    for a, b in zip(found, gradients(model, x, weights), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("bias", [-100.0, 100.0])
@pytest.mark.parametrize("batch", [0, 1, 9])
def test_no_unit_and_every_unit_active(name, bias, batch):
    layers = [conv(3, 40, padding=1), nn.ReLU(), conv(40, 33), nn.ReLU(), conv(33, 7)]
    model = drawn(*layers)
    with torch.no_grad():
        model[0].bias.fill_(bias)
        model[2].bias.fill_(bias)
    found, _ = compare(model, randn(1, batch, 3, 8, 7), name)
    assert found < 1e-6


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_wide_padding_reads_a_pixel_twice(name, mode):
    options = {"padding": 3, "padding_mode": mode}
    model = drawn(nn.ReLU(), conv(5, 9, 2, **options), nn.ReLU(), conv(9, 4, 1, **options))
    found, _ = compare(model, randn(1, 2, 5, 3, 4), name)
    assert found < 1e-6


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kernel", [(2, 3), (4, 3), (3, 5), (5, 1)])
def test_weights_that_meet_nothing_but_padding(name, kernel):
    options = {"stride": (1, 3), "padding": (2, 2)}
    model = drawn(nn.ReLU(), conv(9, 17, kernel, **options), nn.ReLU(), conv(17, 5, 1))
    found, _ = compare(model, randn(1, 3, 9, 3, 2), name)
    assert found < 1e-6


@pytest.mark.parametrize("name", SETS)
def test_many_channels_come_in_panels(name):
    model = drawn(nn.ReLU(), conv(150, 300, padding=1), nn.ReLU(), conv(300, 20))
    found, _ = compare(model, randn(1, 3, 150, 5, 4), name)
    assert found < 2e-6


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("skip", [0.0, 0.5])
@pytest.mark.parametrize("padding", ["circular", "zeros"])
@pytest.mark.parametrize("kind", ["crelu", "cst"])
@pytest.mark.parametrize("where", ["input", "gradient"])
def test_nan_and_infinity_as_dense_has_them(name, skip, padding, kind, where):
    point = solve(kind, sparsity=0.8, q=1.0, clip=1.0)
    model = cnn(point, width=18, depth=3, skip=skip, padding=padding)
    x, weights = randn(1, 4, 3, 6, 5), randn(2, 4, 7)
    if where == "input":
        x[0, 1, 0, 0], x[1, 2, 3, 1] = math.nan, math.inf
    else:
        weights[0, 1], weights[2, 3] = math.nan, math.inf
    dense = gradients(copy.deepcopy(model), x, weights)
    found = gradients(TrainingEngine(model, instruction_set=name), x, weights)
    assert not all(g.isfinite().all() for g in dense)
    for a, b in zip(found, dense, strict=True):
        assert same(a, b)


def test_the_same_bits_for_the_same_threads():
    model, x, weights = cnn(width=33, depth=4, skip=0.5), randn(1, 7, 3, 9, 8), randn(2, 7, 7)
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        one, two = (gradients(TrainingEngine(copy.deepcopy(model)), x, weights) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("frozen", [["layers.2"], ["layers.0", "layers.1"], ["layers.3", "head"]])
@pytest.mark.parametrize("skip", [0.0, 0.5])
def test_frozen_layers(frozen, skip):
    as_dense_with_frozen(cnn(skip=skip), frozen, randn(1, 5, 3, 8, 8))


@pytest.mark.parametrize("skip", [0.0, 0.9])
def test_memory_until_backward(skip):
    """The lists are at most a fifth of what dense autograd holds: h and phi(h)."""
    model = cnn(ONE_SIDED, width=64, depth=6, skip=skip)
    (segment, *_), x = TrainingEngine(model).segments, randn(1, 4, 3, 12, 12)
    h = model.layers[0](x).permute(0, 2, 3, 1)
    _, tape = segment.forward(h, keep=True)
    assert 0 < tape.bytes <= 5 * 2 * h.numel() * 4 / 5


def test_names_shapes_and_memory_of_the_parameters():
    model = cnn()
    shapes = {name: p.shape for name, p in model.state_dict().items()}
    engine = TrainingEngine(model)
    assert {name: p.shape for name, p in engine.state_dict().items()} == shapes
    weight = model.layers[1].weight
    assert weight.permute(2, 3, 1, 0).is_contiguous()
    assert not engine.runs_dense
    gradients(engine, randn(1, 2, 3, 8, 8), randn(2, 2, 7))
    assert weight.grad.stride() == weight.stride()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("skip", [0.0, 0.9])
def test_the_fused_update_is_torchs(kind, skip):
    model, x, weights = cnn(width=20, skip=skip), randn(1, 6, 3, 8, 8), randn(2, 6, 7)
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {"weight_decay": 0.01}
    dense = copy.deepcopy(model)
    engine = TrainingEngine(model)
    rivals = [
        (engine, engine.optimizer(kind, lr=1e-3, **options)),
        (dense, kind(dense.parameters(), lr=1e-3, **options)),
    ]
    for _ in range(4):
        for wrapped, optimizer in rivals:
            optimizer.zero_grad()
            (wrapped(x) * weights).sum().backward()
            optimizer.step()
    assert model.layers[1].weight.grad is None
    for a, b in zip(model.parameters(), dense.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_what_runs_dense_is_named():
    layers = [conv(3, 8), nn.ReLU(), conv(8, 8, groups=2), nn.ReLU(), conv(8, 8, dilation=2)]
    model = drawn(*layers, nn.ReLU(), conv(8, 4))
    with pytest.warns(UserWarning, match="runs dense"):
        engine = accelerate(model, randn(1, 2, 3, 12, 12), train=True)
    assert set(engine.runs_dense) == {"2", "4"}
    assert "groups 2" in engine.runs_dense["2"]
    x = randn(1, 2, 3, 12, 12)
    weights = randn(2, *model(x).shape)
    dense = gradients(copy.deepcopy(model), x, weights)
    assert error(gradients(engine, x, weights), [g.double() for g in dense]) < 1e-5


def test_images_that_are_refused():
    model = drawn(nn.ReLU(), conv(3, 4, 5), nn.ReLU(), conv(4, 4, 3))
    engine = TrainingEngine(model)
    with pytest.raises(InvalidInput, match="too small for a kernel"):
        engine(randn(1, 2, 3, 6, 6))
    with pytest.raises(InvalidInput, match=r"\[batch, 3, height, width\]"):
        engine(randn(1, 2, 4, 9, 9))
