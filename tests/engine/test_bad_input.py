"""Whatever does not fit is refused in one line: what was given, the rule, what to do."""

import re

import pytest
import torch
from torch import nn

from sparsefield.engine import Engine, StaleEngine, accelerate
from sparsefield.engine.native import kernels
from sparsefield.engine.parts import parts_of
from sparsefield.engine.phi import Phi
from sparsefield.engine.products import Chain, Product, Window
from sparsefield.errors import InvalidInput

from .chains import randn
from .models import MODELS, VECTORS, batch_for, cnn, conv, dnn, drawn


def refuses(call, *words):
    with pytest.raises(InvalidInput) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(".*".join(words), message), message
    return caught


INPUTS = {
    "too wide": (randn(1, 4, 38), (r"layers.0: got \[\d, 38\]", r"reads \[batch, 37\]", "reshape")),
    "an image": (randn(1, 4, 3, 9, 13), (r"layers.0: got \[\d, 351\]", "reshape")),
    "float64": (randn(1, 4, 37).double(), ("float64", "float32", r"x.float\(\)")),
    "whole numbers": (torch.ones(4, 37, dtype=torch.long), ("int64", "float32", r"x.float\(\)")),
    "elsewhere": (torch.ones(4, 37, device="meta"), ("meta", "CPU", r"x.cpu\(\)")),
    "sparse": (randn(1, 4, 37).to_sparse(), ("sparse_coo", "zeros itself", "to_dense")),
    "one sample": (randn(1, 37), (r"\[37\]", r"\[batch, ...\]", r"x\[None\]")),
    "a number": (torch.tensor(1.0), (r"\[\]", r"\[batch, ...\]")),
    "an array": (randn(1, 4, 37).numpy(), ("ndarray", "torch.Tensor")),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_input_of_a_dnn(kind):
    x, words = INPUTS[kind]
    engine = accelerate(dnn(), batch_for("dnn", 4))
    refuses(lambda: engine(x), *words)
    refuses(lambda: accelerate(dnn(), x), *words)
    engine(batch_for("dnn", 4))


@pytest.mark.parametrize("dispatch", ["sparse", "dense"])
def test_input_of_a_cnn(dispatch):
    engine = accelerate(cnn(), batch_for("cnn, zeros", 4), dispatch=dispatch)
    words = r"reads \[batch, 3, height, width\]", "reshape"
    refuses(lambda: engine(randn(1, 4, 2, 9, 13)), r"\[4, 2, 9, 13\]", *words)
    refuses(lambda: engine(randn(1, 3, 9, 13)), r"\[3, 9, 13\]", *words)
    refuses(lambda: engine(randn(1, 4, 37)), r"\[4, 37\]", *words)


@pytest.mark.parametrize("dispatch", ["sparse", "dense"])
@pytest.mark.parametrize("batch", [0, 3])
def test_an_image_smaller_than_the_kernel(dispatch, batch):
    model = drawn(conv(3, 5, 3), nn.ReLU(), conv(5, 5, (5, 3)), nn.ReLU())
    engine = accelerate(model, randn(1, 3, 3, 9, 9), dispatch=dispatch)
    assert engine(randn(1, batch, 3, 7, 5)).shape == (batch, 5, 1, 1)
    for size in ((6, 5), (7, 4), (1, 1), (0, 9)):
        refuses(lambda size=size: engine(randn(1, batch, 3, *size)), "image", "small", "larger")


@pytest.mark.parametrize("dispatch", ["sparse", "dense"])
def test_an_image_smaller_than_circular_padding(dispatch):
    model = drawn(conv(3, 5, 5, padding=2, padding_mode="circular"), nn.ReLU())
    engine = accelerate(model, randn(1, 3, 3, 9, 9), dispatch=dispatch)
    engine(randn(1, 3, 3, 2, 2))
    refuses(lambda: engine(randn(1, 3, 3, 1, 9)), "image", "small", "larger")


@pytest.mark.parametrize("dispatch", ["sparse", "dense"])
def test_a_skip_over_a_stride_that_changes_nothing(dispatch):
    """The model has the skip where an image stays of one pixel, and only there."""
    model = cnn(skip=0.5, strides=(1, 2), pool=1)
    engine = accelerate(model, randn(1, 3, 3, 9, 9), dispatch=dispatch)
    refuses(lambda: engine(randn(1, 3, 3, 2, 2)), "strided layer with a skip", "larger")


# Models


def test_a_model_of_another_type():
    refuses(
        lambda: accelerate(dnn().double(), batch_for("dnn", 4).double()),
        *("layers.0", "float64", r"float\(\).cpu\(\)"),
    )
    refuses(lambda: accelerate(dnn().half(), batch_for("dnn", 4)), "float16")
    refuses(lambda: accelerate(dnn().to("meta"), batch_for("dnn", 4)), "meta", r"cpu\(\)")


def test_a_model_with_nothing_to_take():
    x = batch_for("dnn", 4)
    refuses(lambda: accelerate(nn.Tanh(), x), "Tanh: holds no Linear or Conv2d", "Tanh is none of")
    refuses(lambda: accelerate(nn.Sequential(), x), "Sequential: holds no Linear")
    model = dnn()
    model.register_forward_hook(lambda module, inputs, output: output + 1.0)
    refuses(lambda: accelerate(model, x), "holds no", "hooks")


def test_a_network_with_a_layer_that_cannot_be_taken():
    model = dnn()
    model.activations[1] = nn.Tanh()
    refuses(lambda: parts_of(model), "activations.1: Tanh", "every layer")
    model = dnn()
    model.activations[2].register_forward_hook(lambda *_: None)
    refuses(lambda: parts_of(model), "activations.2: it has hooks", "every layer")
    model = dnn()
    with torch.no_grad():
        model.layers[3].weight[0, 0] = float("nan")
    refuses(lambda: parts_of(model), "layers.3: a weight is NaN", "every layer")


def test_layers_that_do_not_fit():
    x = batch_for("dnn", 4)
    wrong = drawn(nn.Linear(37, 50), nn.ReLU(), nn.Linear(60, 7))
    refuses(lambda: accelerate(wrong, x), "2: reads 60 values, but 0 makes 50", "equal")
    apart = drawn(nn.Linear(37, 50), nn.Flatten(), nn.Linear(60, 7))
    refuses(lambda: accelerate(apart, x), r"2: got \[1, 50\], it reads \[batch, 60\]")
    model = drawn(nn.Linear(37, 5))
    model[0].bias = nn.Parameter(torch.zeros(1))
    refuses(lambda: accelerate(model, x), r"0: a bias of \[1\]", r"\[5, 37\]", "one value for each")


WEIGHT, KERNEL = torch.ones(3, 3), torch.ones(3, 3, 3, 3)
SAME = Window((3, 3), (1, 1), (1, 1), True)
PRODUCTS = {
    "no matrix": (WEIGHT[0], None, 0.0),
    "a window without a kernel": (WEIGHT, SAME, 0.0),
    "a kernel without a window": (KERNEL, None, 0.0),
    "stride 0": (KERNEL, SAME._replace(stride=(1, 0)), 0.0),
    "negative padding": (KERNEL, SAME._replace(padding=(-1, 0)), 0.0),
    "all skip": (WEIGHT, None, 1.0),
    "skip of NaN": (WEIGHT, None, float("nan")),
    "float64": (WEIGHT.double(), None, 0.0),
}


@pytest.mark.parametrize("kind", PRODUCTS)
def test_products_that_no_kernel_may_meet(kind):
    weight, window, skip = PRODUCTS[kind]
    refuses(lambda: Product("fc", weight, None, window, Phi(), skip), "fc: ")


def test_skips_without_two_equal_ends():
    first, other = Product("a", WEIGHT, None, None, Phi(), 0.5), torch.ones(4, 3)
    refuses(lambda: Chain((first,)), "a: a skip", "layer 0", "equal")
    plain = Product("a", WEIGHT, None, None, Phi())
    second = Product("b", other, None, None, Phi(), 0.5)
    refuses(lambda: Chain((plain, second)), "b: a skip from 3 to 4", "layer 1")


# Options


def test_options():
    model, x = dnn(), batch_for("dnn", 4)
    refuses(lambda: accelerate(model, x, storage="float16"), "'float16'", "choose", "int8")
    refuses(lambda: accelerate(model, x, dispatch="fast"), "'fast'", "choose", "sparse")
    refuses(lambda: accelerate(model, x, dispatch={"head": "fast"}), "'fast'", "choose")
    refuses(lambda: accelerate(model, x, dispatch={"tail": "dense"}), "'tail'", "engine.layers")
    refuses(lambda: accelerate(model, x[:0]), "sample", "no row", "real inputs")
    for batches in ([0], [-1, 5], []):
        refuses(lambda b=batches: accelerate(model, x, batches=b), "batches", "at least 1")


@pytest.mark.skipif(kernels() is None, reason="built without a compiler")
def test_an_instruction_set_that_is_not_there():
    refuses(lambda: Engine(parts_of(dnn()), instruction_set="sse9"), "'sse9'", "choose", "baseline")


# A model that changed


def stepped(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(batch_for("dnn", 4)).sum().backward()
    optimizer.step()


def replaced(model):
    """Other tensors take the places of all weights."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)


CHANGES = {
    "a step": stepped,
    "loaded": lambda model: model.load_state_dict(dnn(skip=0.5).state_dict()),
    "replaced": replaced,
    "converted": lambda model: model.double(),
    "one layer": lambda model: nn.init.zeros_(model.layers[1].weight),
    "a new layer": lambda model: setattr(model.layers[1], "bias", nn.Parameter(torch.ones(99))),
    "no bias": lambda model: setattr(model.layers[1], "bias", None),
    "tau": lambda model: setattr(model.activations[1], "tau", 0.1),
    "m": lambda model: setattr(model.activations[4], "m", 0.1),
    "another activation": lambda model: model.activations.__setitem__(2, nn.ReLU()),
    "another layer": lambda model: model.layers.__setitem__(2, nn.Linear(99, 99)),
    "one layer more": lambda model: model.layers.append(nn.Linear(99, 99)),
    "a skip": lambda model: setattr(model, "skip", 0.3),
}


ONE_WEIGHT = ("one layer", "a new layer", "no bias")


@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_changed(change, batch):
    model, x = dnn(), batch_for("dnn", batch)
    engine = accelerate(model, x)
    for _ in range(30):
        engine(x)
    CHANGES[change](model)

    def calls():
        # a change of one weight among many is met in turn, and so is one of a constant
        turns = 2 if change in ONE_WEIGHT else 5
        for _ in range(1 if change in ("a step", "loaded", "replaced", "converted") else turns):
            engine(x)

    caught = refuses(calls, "changed since accelerate", "call it again")
    assert caught.type is StaleEngine
    with pytest.raises(StaleEngine):
        engine.check()


def test_gradients_and_use_are_no_change():
    model, x = dnn(), batch_for("dnn", 20)
    engine = accelerate(model, x)
    model(x).sum().backward()
    model.zero_grad()
    model.train()
    engine.check()
    engine(x)


@pytest.mark.parametrize("name", VECTORS)
def test_every_weight_is_watched(name):
    for index in range(len(list(MODELS[name]().parameters()))):
        model = MODELS[name]()
        engine = accelerate(model, batch_for(name, 4))
        with torch.no_grad():
            list(model.parameters())[index].mul_(1.0)
        with pytest.raises(StaleEngine):
            engine.check()
