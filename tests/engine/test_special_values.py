"""NaN, infinity and the smallest numbers behave in the engine as they do in the model."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sparsefield.engine import Engine, accelerate
from sparsefield.engine.native import kernels
from sparsefield.engine.parts import parts_of
from sparsefield.engine.plan import ROWS
from sparsefield.nn import CNN, CST, DNN, CReLU
from sparsefield.theory import solve

from .chains import randn, thinned

SETS = kernels().instruction_sets() if kernels() else [""]
WAYS = ["sparse", "dense", "rows"]
POINTS = {
    "one-sided": solve("crelu", sparsity=0.8, q=2.0, clip=1.0),
    "two-sided": solve("cst", sparsity=0.8, q=2.0, clip=1.0),
    "unclipped": solve("st", sparsity=0.8, q=1.0),
}


def engine_of(model: nn.Module, x: Tensor, name: str, way: str) -> Engine:
    """All layers by one way: sparse, PyTorch's dense, or the kernels' dense."""
    engine = Engine(parts_of(model), instruction_set=name)
    engine.measure(x.nan_to_num(0.0, 1.0, -1.0))
    engine.override("sparse" if way == "sparse" else "dense")
    if way == "rows":
        for runner in engine.runners:
            runner.plans = tuple(
                replace(plan, dense=(ROWS,) * len(plan.dense)) for plan in runner.plans
            )
    return engine


def same(out: Tensor, expected: Tensor) -> bool:
    """The same NaN, the same infinities, and the other values near."""
    if not torch.equal(out.isnan(), expected.isnan()):
        return False
    infinite = expected.isinf()
    if not torch.equal(out.isinf(), infinite) or not torch.equal(out[infinite], expected[infinite]):
        return False
    finite = expected.isfinite()
    return torch.allclose(out[finite], expected[finite], rtol=1e-4, atol=1e-4)


def poisoned(x: Tensor) -> Tensor:
    """A NaN, each infinity and both in samples of their own; the others stay as they are."""
    x = x.clone()
    flat = x.view(len(x), -1)
    flat[1, 3], flat[2, 4], flat[3, 0] = math.nan, math.inf, -math.inf
    flat[4, 0], flat[4, 1] = math.inf, -math.inf
    return x


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", POINTS)
@pytest.mark.parametrize("skip", [0.0, 0.5])
def test_dnn(name, way, kind, skip):
    generator = torch.Generator().manual_seed(0)
    model = DNN(70, 90, 3, 7, POINTS[kind], skip=skip, generator=generator)
    x = poisoned(thinned(randn(1, 9, 70), 0.5, seed=2))
    out, expected = engine_of(model, x, name, way)(x), model(x).detach()
    assert same(out, expected)
    assert expected[1].isnan().all()
    # each sample on its own
    assert expected[[0, 5, 6, 7, 8]].isfinite().all()
    assert not expected[2].isfinite().all() or kind != "unclipped"


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("way", ["sparse", "dense"])
@pytest.mark.parametrize("kind", POINTS)
@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_cnn(name, way, kind, padding):
    generator = torch.Generator().manual_seed(0)
    model = CNN(3, 17, 3, 7, POINTS[kind], skip=0.5, padding=padding, pool=1, generator=generator)
    x = poisoned(thinned(randn(1, 6, 3, 6, 9), 0.5, seed=2))
    out, expected = engine_of(model, x, name, way)(x), model(x).detach()
    assert same(out, expected)
    assert expected[1].isnan().all()
    assert expected[[0, 5]].isfinite().all()


@pytest.mark.parametrize("way", WAYS)
def test_nan_reaches_only_the_pixels_that_see_it(way):
    layers = nn.Conv2d(2, 5, 3, padding=1), CReLU(0.5, 1.0), nn.Conv2d(5, 4, 3, padding=1)
    model, x = nn.Sequential(*layers), randn(1, 2, 2, 9, 9)
    x[1, 0, 1, 1] = math.nan
    out = engine_of(model, x, "", way)(x)
    assert torch.equal(out.isnan(), model(x).isnan())
    assert 0 < out[1].isnan().sum() < out[1].numel()
    assert out[0].isfinite().all()


def test_same_sees_a_value_where_nan_is_due():
    expected = torch.tensor([1.0, math.nan, math.inf])
    assert same(expected.clone(), expected)
    for index, wrong in ((0, 1.01), (1, 0.0), (2, -math.inf), (2, math.nan)):
        out = expected.clone()
        out[index] = wrong
        assert not same(out, expected)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("phi", [nn.ReLU(), CST(0.0, 1.0), None])
def test_values_of_1e_40_are_not_lost(name, way, phi):
    first, second = nn.Linear(33, 50, bias=False), nn.Linear(50, 20, bias=False)
    model = nn.Sequential(first, second) if phi is None else nn.Sequential(first, phi, second)
    x = randn(1, 5, 33) * 1e-40
    out = engine_of(model, x, name, way)(x)
    expected = model.double()(x.double()).detach()
    assert expected.abs().max() < 1e-38  # below the smallest normal number
    assert (out.double() - expected).abs().max() < 1e-43  # its spacing is 1.4e-45
    assert (out != 0).float().mean() > 0.9


@pytest.mark.parametrize("way", ["sparse", "dense"])
def test_an_infinite_bias(way):
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        model[0].bias[2] = math.inf
    x = randn(1, 4, 5)
    engine = accelerate(model, x, dispatch=way)
    assert same(engine(x), model(x).detach())
    assert engine(x).isinf().all()
