"""accelerate() gives the model's outputs, whatever the model, the batch and the memory."""

import copy
import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import sparsefield
from sparsefield.engine import Engine, accelerate
from sparsefield.engine.native import kernels
from sparsefield.nn import CReLU

from .models import IMAGES, MODELS, VECTORS, batch_for, cnn, conv, dnn, drawn

KERNELS = pytest.mark.skipif(kernels() is None, reason="built without a compiler")
RTOL = 1e-5


def is_near(out, expected, rtol=RTOL):
    """Equal to rtol of the largest output: sums are taken in another order."""
    assert out.shape == expected.shape
    assert out.dtype == expected.dtype
    if not out.numel():
        return True
    return bool((out - expected).abs().max() <= rtol * expected.abs().max())


@pytest.mark.parametrize("dispatch", ["measure", "sparse", "dense"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_the_models(name, dispatch):
    model = MODELS[name]().eval()
    engine = accelerate(model, batch_for(name, 20), dispatch=dispatch)
    for batch in (0, 1, 2, 3, 20, 33):
        x = batch_for(name, batch, seed=batch + 5)
        with torch.no_grad():
            expected = model(x.clone())
        assert is_near(engine(x), expected)


def test_another_models_outputs_are_not_near():
    model, x = dnn(), batch_for("dnn", 20)
    engine = accelerate(model, x)
    with torch.no_grad():
        model.head.weight[4] += 1e-3
        assert not is_near(engine._run(x), model(x))


@pytest.mark.parametrize("name", ["dnn with a skip", "cnn with a skip"])
def test_layers_by_name_run_as_told(name):
    model, x = MODELS[name](), batch_for(name, 20)
    layers = [layer.name for layer in accelerate(model, x).layers]
    choice = {layers[1]: "sparse", layers[2]: "dense", layers[0]: "measure"}
    engine = accelerate(model, x, dispatch=choice)
    assert is_near(engine(x), model(x).detach())
    runs = {(layer.name, layer.batch): layer.runs for layer in engine.layers}
    for batch in (1, 20):
        assert runs[layers[1], batch] == "sparse"
        assert runs[layers[2], batch] in ("rows", "torch")


def test_it_is_public():
    assert sparsefield.accelerate is accelerate
    assert sparsefield.Engine is Engine


@pytest.mark.parametrize("name", ["dnn", "cnn with a skip"])
@pytest.mark.parametrize("dispatch", ["sparse", "dense"])
def test_any_strides(name, dispatch):
    model, x = MODELS[name](), batch_for(name, 12)
    engine = accelerate(model, x, dispatch=dispatch)
    every_other = torch.zeros(24, *x.shape[1:])
    every_other[::2] = x
    wide = torch.zeros(*x.shape[:-1], 2 * x.shape[-1] + 1)
    wide[..., 1::2] = x
    order = (*range(x.dim())[::-1],)
    variants = [
        x.permute(order).contiguous().permute(order),
        every_other[::2],
        wide[..., 1::2],
        x[:1].expand(12, *x.shape[1:]),
        x.flip(0),
        torch.cat([torch.zeros(1), x.flatten()])[1:].view(x.shape),
    ]
    if x.dim() == 4:
        variants.append(x.contiguous(memory_format=torch.channels_last))
    for given in variants:
        before = given.clone()
        assert is_near(engine(given), model(given).detach())
        assert torch.equal(given, before)


def test_inputs_of_many_dimensions_are_flattened_as_the_dnn_does():
    model, x = dnn(inputs=60), torch.randn(5, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    assert is_near(accelerate(model, x)(x), model(x).detach())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
def test_any_share_of_zeros(share):
    model, x = dnn(), torch.ones(20, 37)
    x[:, : round(37 * share)] = 0.0
    for sample in (x, torch.zeros(20, 37)):
        assert is_near(accelerate(model, sample)(x), model(x).detach())


@KERNELS
@pytest.mark.parametrize("storage", ["bfloat16", "int8"])
@pytest.mark.parametrize("name", ["dnn with a skip", "cnn with a skip"])
def test_rounded_weights(name, storage):
    model, x = MODELS[name](), batch_for(name, 20)
    engine = accelerate(model, x, storage=storage)
    assert is_near(engine(x), model(x).detach(), rtol=0.1)
    assert not is_near(engine(x), model(x).detach())
    assert storage in repr(engine)


def test_results_carry_no_graph_and_take_inputs_that_do():
    model, x = dnn(), batch_for("dnn", 20).requires_grad_()
    engine = accelerate(model, x)
    assert not engine(x).requires_grad
    assert torch.is_grad_enabled()
    with torch.inference_mode():
        assert is_near(engine(x), model(x))


def test_a_model_made_under_inference_mode():
    with torch.inference_mode():
        model = dnn()
    x = batch_for("dnn", 20)
    engine = accelerate(model, x)
    with torch.inference_mode():
        assert is_near(engine(x), model(x))


# What it cannot take


class Doubling(nn.Module):
    def forward(self, x):
        return 2.0 * x


class Shifting(CReLU):
    def forward(self, x):
        return super().forward(x) + 1.0


def hooked(model):
    """The second layer's output is doubled by a hook."""
    model[2].register_forward_hook(lambda module, inputs, output: 2.0 * output)
    return model


def parametrized():
    model = drawn(nn.Linear(37, 50), nn.ReLU(), nn.Linear(50, 7))
    parametrize.register_parametrization(model[2], "weight", Doubling())
    return model


def with_infinity():
    model = drawn(nn.Linear(37, 50), nn.ReLU(), nn.Linear(50, 7))
    with torch.no_grad():
        model[2].weight[0, 0] = float("inf")
    return model


ODD = {
    "unknown": (lambda: drawn(nn.Linear(37, 50), nn.Tanh(), nn.Linear(50, 7)), "1", "Tanh"),
    "your own": (lambda: drawn(nn.Linear(37, 50), Doubling(), nn.Linear(50, 7)), "1", "Doubling"),
    "normalisation": (
        lambda: drawn(nn.Linear(37, 50), nn.LayerNorm(50), nn.ReLU(), nn.Linear(50, 7)),
        *("1", "LayerNorm"),
    ),
    "random": (lambda: drawn(nn.Linear(37, 50), nn.RReLU(), nn.Linear(50, 7)), "1", "RReLU"),
    "parametrized": (parametrized, "2", "computed from others"),
    "infinite": (with_infinity, "2", "NaN or infinite"),
    "hooked": (
        lambda: hooked(drawn(nn.Linear(37, 50), nn.ReLU(), nn.Linear(50, 7))),
        *("2", "hooks"),
    ),
    "hooked activation": (
        lambda: hooked(drawn(nn.Linear(37, 50), nn.Identity(), nn.ReLU(), nn.Linear(50, 7))),
        *("2", "hooks"),
    ),
    "subclass of an activation": (
        lambda: drawn(nn.Linear(37, 50), Shifting(0.5, 1.0), nn.Linear(50, 7)),
        *("1", "Shifting"),
    ),
    "no outputs": (
        lambda: nn.Sequential(nn.Linear(37, 5), nn.Linear(5, 0)),
        *("1", "no weight"),
    ),
}


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("kind", ODD)
def test_a_layer_it_cannot_take_is_named_and_runs_as_it_is(kind):
    make, layer, reason = ODD[kind]
    model, x = make(), batch_for("dnn", 20)
    with pytest.warns(UserWarning, match=f"{layer} runs dense: .*{reason}"):
        engine = accelerate(model, x)
    assert reason in engine.runs_dense[layer]
    assert re.search(f"{layer} runs dense: .*{reason}", repr(engine))
    expected = model.eval()(x).detach()
    finite = expected.isfinite()
    assert torch.equal(finite, engine(x).isfinite())
    assert is_near(engine(x)[finite], expected[finite])


CONVOLUTIONS = {
    "groups": conv(4, 6, groups=2),
    "dilation": conv(4, 6, dilation=2),
    "same": conv(4, 6, padding="same"),
    "reflect": conv(4, 6, padding=1, padding_mode="reflect"),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_a_convolution_it_cannot_take(kind):
    model = drawn(conv(3, 4), nn.ReLU(), CONVOLUTIONS[kind], nn.ReLU(), conv(6, 5))
    x = batch_for("cnn, zeros", 4)
    with pytest.warns(UserWarning, match=f"2 runs dense: .*{kind}"):
        engine = accelerate(model, x)
    assert is_near(engine(x), model(x).detach())


def test_known_layers_warn_of_nothing():
    for name in MODELS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            engine = accelerate(MODELS[name](), batch_for(name, 2))
        assert engine.runs_dense == {}


# The model stays as it is


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.filterwarnings("ignore:accelerate")
def test_the_model_is_left_as_it_was(training):
    model = drawn(
        *(nn.Linear(37, 50), nn.BatchNorm1d(50), nn.ReLU(inplace=True), nn.Dropout()),
        *(nn.Sequential(nn.Linear(50, 50), nn.RReLU()), nn.Linear(50, 7)),
    ).train(training)
    x = batch_for("dnn", 20)
    state, modules = copy.deepcopy(model.state_dict()), dict(model.named_modules())
    random, given = torch.get_rng_state(), x.clone()
    engine = accelerate(model, x)
    out = engine(x)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(x, given)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert dict(model.named_modules()) == modules
    assert all(module.training == training for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(engine(x), out)
    assert is_near(out, model.eval()(x).detach())


@pytest.mark.filterwarnings("ignore:accelerate")
def test_it_runs_in_evaluation_mode_whatever_the_model_is_set_to_later():
    model, x = drawn(nn.Linear(37, 50), nn.BatchNorm1d(50), nn.Linear(50, 7)).eval(), None
    x = batch_for("dnn", 20)
    engine, expected = accelerate(model, x), model(x).detach()
    model.train()
    assert is_near(engine(x), expected)
    assert model[1].num_batches_tracked == 0


# What it says of itself


def test_layers_say_how_each_runs():
    model, x = dnn(depth=3), batch_for("dnn", 20)
    engine = accelerate(model, x, batches=[1, 8, 64], dispatch="sparse")
    names = ["layers.0", "layers.1", "layers.2", "head"]
    assert [(layer.batch, layer.name) for layer in engine.layers] == [
        (batch, name) for batch in (1, 8, 64) for name in names
    ]
    assert {layer.runs for layer in engine.layers} == {"sparse"}
    assert all(layer.crossover > 1.0 for layer in engine.layers)
    engine(x)
    active = [int((x != 0).sum())]
    h = model.layers[0](x)
    active.append(int((model.activations[0](h) != 0).sum()))
    density = [layer.density for layer in engine.layers[:2]]
    assert density == pytest.approx([active[0] / x.numel(), active[1] / h.numel()], abs=1e-3)


def test_repr_says_what_runs_what():
    engine = accelerate(dnn(), batch_for("dnn", 20), dispatch="sparse")
    text = repr(engine)
    assert engine.backend in text
    assert "1 threads" in text
    assert "layers.0 to head, batch 1: 6 sparse" in text
    assert "layers.0 to head, batch 20: 6 sparse" in text
    engine.override({"head": "dense"})
    assert re.search("batch 20: 5 sparse, 1 dense by ", repr(engine))


@KERNELS
def test_backend_names_the_best_instruction_set():
    engine = accelerate(cnn(), batch_for("cnn, zeros", 2))
    assert engine.backend == f"native {kernels().instruction_sets()[0]}"
    assert engine.threads == torch.get_num_threads()


def test_every_kind_is_tested():
    assert set(MODELS) == set(VECTORS) | set(IMAGES)
    assert len(MODELS) >= 28
