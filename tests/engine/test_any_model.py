"""accelerate() for models of any class: the same outputs, and what runs how by name."""

import copy
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

import sparsefield.nn
from sparsefield.engine import Accelerated, Engine, StaleEngine, accelerate, save_engine
from sparsefield.engine.native import kernels
from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN, CReLU

from .chains import randn
from .models import ONE_SIDED, seeded
from .own_models import (
    OWN,
    AutoEncoder,
    Branching,
    Partly,
    ResNet,
    Transformer,
    called,
    leaves,
    own,
    settled,
)
from .random_graphs import random_graph

pytestmark = pytest.mark.filterwarnings("ignore:accelerate")
KERNELS = pytest.mark.skipif(kernels() is None, reason="built without a compiler")
RTOL = 1e-5


def agree(found, expected, rtol=RTOL):
    """By the largest value: sums are taken in another order."""
    ours, theirs = leaves(found), [x.detach() for x in leaves(expected)]
    assert [x.shape for x in ours] == [x.shape for x in theirs]
    return all(
        float((a - b).abs().max()) <= rtol * float(b.abs().max()) + 1e-30
        for a, b in zip(ours, theirs, strict=True)
        if b.numel()
    )


@pytest.mark.parametrize("dispatch", ["measure", "sparse", "dense"])
@pytest.mark.parametrize("name", OWN)
def test_outputs_are_the_models(name, dispatch):
    model, make = own(name), OWN[name][1]
    fast = accelerate(model, make(6), dispatch=dispatch)
    assert isinstance(fast, Accelerated)
    assert fast.untraced is None
    model.eval()
    for batch in (1, 3, 6):
        expected = called(model, make(batch))
        found = called(fast, make(batch))
        assert type(found) is type(expected)
        assert agree(found, expected)
        assert not any(x.requires_grad for x in leaves(found))


@pytest.mark.parametrize("name", OWN)
def test_another_models_outputs_are_not(name):
    model, make = own(name), OWN[name][1]
    fast = accelerate(model, make(6), dispatch="sparse")
    other = copy.deepcopy(model).eval()
    with torch.no_grad():
        product = next(m for m in other.modules() if isinstance(m, nn.Linear | nn.Conv2d))
        product.weight.mul_(1.01)
    assert not agree(called(fast, make(6)), called(other, make(6)))


RUNS = {  # what goes on lists together, without kernels for convolutions none of them
    "resnet": [
        *("stem.0", "stages.0.conv1 to stages.0.conv2", "stages.1.conv1 to stages.1.conv2"),
        *("stages.1.down", "fc"),
    ],
    "mixer": [
        *("embed", "blocks.0.tokens.0 to blocks.0.tokens.2"),
        *("blocks.0.channels.0 to blocks.0.channels.2", "blocks.1.tokens.0 to blocks.1.tokens.2"),
        *("blocks.1.channels.0 to blocks.1.channels.2", "head"),
    ],
    "transformer": ["blocks.0.up to blocks.0.down", "blocks.1.up to blocks.1.down", "head"],
    "unet": ["d1.0 to d1.2", "d2.0 to d2.2", "merge.0 to merge.2", "out"],
    "autoencoder": ["encoder.0 to encoder.2", "decoder.0 to decoder.2"],
    "two inputs": ["shared to shared", "a", "b"],
}


@KERNELS
@pytest.mark.parametrize("name", RUNS)
def test_runs_are_as_long_as_can_be(name):
    fast = accelerate(own(name), OWN[name][1](2), dispatch="sparse")
    assert sorted(fast.pieces) == sorted(RUNS[name])


@KERNELS
def test_what_runs_as_it_is_is_named():
    fast = accelerate(own("unet"), OWN["unet"][1](2), dispatch="sparse")
    assert "groups 8" in fast.runs_dense["depthwise"]
    assert "ConvTranspose2d" in fast.runs_dense["up"]
    text = repr(fast)
    for word in ("d1.0 to d1.2", "depthwise runs dense", "ConvTranspose2d: up", "cat", "MaxPool2d"):
        assert word in text
    text = repr(accelerate(own("transformer"), OWN["transformer"][1](2), dispatch="sparse"))
    for word in ("MultiheadAttention: blocks.0.attention", "LayerNorm", "Embedding: embed", "add"):
        assert word in text


def test_norms_are_folded():
    model = settled(
        nn.Sequential(
            *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, bias=False)),
            *(nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Flatten(), nn.Linear(64, 9)),
            *(nn.BatchNorm1d(9), nn.Dropout(), nn.ReLU(), nn.Linear(9, 4)),
        )
    ).train()
    x = randn(1, 5, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = accelerate(model, x)
    assert isinstance(engine, Engine)
    assert engine.runs_dense == {}
    assert agree(engine(x), model.eval()(x))
    with torch.no_grad():
        model[1].running_mean[0] += 1.0
    with pytest.raises(StaleEngine):
        engine.check()


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(7), nn.BatchNorm2d(8, track_running_stats=False)])
def test_a_norm_over_something_else_is_not_folded(norm):
    """Over the tokens of [batch, tokens, features]; of each batch anew."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            images = isinstance(norm, nn.BatchNorm2d)
            self.layer = nn.Conv2d(3, 8, 3) if images else nn.Linear(12, 7)
            self.norm, self.phi = norm, nn.ReLU()

        def forward(self, x):
            return self.phi(self.norm(self.layer(x)))

    images = isinstance(norm, nn.BatchNorm2d)
    x = randn(1, 5, 3, 8, 8) if images else randn(1, 5, 7, 12)
    model = settled(Model())
    fast = accelerate(model, x, dispatch="sparse")
    assert "norm" in fast.runs_dense
    assert agree(fast(x), model.eval()(x))


def test_calls_of_another_form_run_as_the_model():
    model = own("transformer").eval()
    words = OWN["transformer"][1](4)[0]
    fast = accelerate(model, words, dispatch="sparse")
    mask = torch.zeros(4, 7, dtype=torch.bool)
    mask[:, 5:] = True
    masked = fast(words, mask=mask)
    assert agree(masked, model(words, mask))
    assert not agree(masked, fast(words))
    assert agree(fast(words=words), model(words))
    assert agree(fast(words[:, :5]), model(words[:, :5]))
    with_mask = accelerate(model, (words, mask), dispatch="sparse")
    assert agree(with_mask(words, mask=mask), model(words, mask))


def test_what_a_call_says_beside_tensors_counts():
    model, arguments = own("two inputs").eval(), OWN["two inputs"][1](4)
    fast = accelerate(model, arguments, dispatch="sparse")
    for scale in (0.5, 2.0):
        assert agree(fast(**arguments | {"scale": scale}), model(**arguments | {"scale": scale}))


def test_a_forward_that_cannot_be_traced():
    model, x = settled(Branching()).eval(), randn(1, 6, 24)
    with pytest.warns(UserWarning, match="not traced as a whole, but in parts or layer by layer: "):
        fast = accelerate(model, x, dispatch="sparse")
    assert set(fast.pieces) == {"first", "second", "third"}
    for given_x in (x, -x):
        assert agree(fast(given_x), model(given_x))
    assert "forward" not in vars(model.first)
    assert "layer by layer" in repr(fast)


@KERNELS
def test_parts_that_can_be_traced():
    model, x = settled(Partly()).eval(), randn(1, 6, 3, 8, 8)
    fast = accelerate(model, {"x": x, "again": True}, dispatch="sparse")
    chains = {"block.conv1 to block.conv2", "tail.1.0 to tail.1.2"}
    assert set(fast.pieces) == {"stem", "heads.head.1", *chains}
    for given_x, again in ((x, True), (-x, False), (x[:1], False)):
        assert agree(fast(given_x, again=again), model(given_x.clone(), again=again))
    text = repr(fast)
    for word in ("in parts", "block.bn1", "BatchNorm2d"):
        assert (word in text) == (word == "in parts")  # norms are folded in parts as well
    assert "add" in text or "iadd" in text
    assert not any("forward" in vars(module) for module in model.modules())


def test_values_that_a_trace_would_not_look_up():
    """A branch on a type is taken by a tracer the other way; the outputs tell."""

    class Guarded(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(24, 24)

        def forward(self, x):
            return self.layer(x if isinstance(x, torch.Tensor) else 2.0 * x)

    model, x = settled(Guarded()), randn(1, 6, 24)
    fast = accelerate(model, x, dispatch="sparse")
    assert "other outputs" in fast.untraced
    assert agree(fast(x), model(x))


@settings(max_examples=40)
@given(data=st.data())
def test_random_graphs(data):
    model, make = random_graph(data)
    fast = accelerate(model, make(5), dispatch="sparse", batches=[5])
    assert fast.untraced is None
    for batch in (5, 2):
        arguments = make(batch)
        before = [x.clone() for x in arguments]
        expected = model.eval()(*[x.clone() for x in arguments])
        assert agree(fast(*arguments), expected, 1e-4)
        assert all(torch.equal(a, b) for a, b in zip(arguments, before, strict=True))


def test_in_place_activations_with_other_readers():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.phi = nn.Linear(24, 24), nn.Linear(24, 24), nn.ReLU(inplace=True)

        def forward(self, x):
            h = self.a(x)
            y = self.b(self.phi(h))
            return y + h  # h is overwritten by now

    model, x = settled(Model()), randn(1, 6, 24)
    assert agree(accelerate(model, x, dispatch="sparse")(x), model(x))


def test_networks_inside_models():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.images = CNN(3, 8, 2, 5, ONE_SIDED, generator=seeded())
            self.values = DNN(12, 20, 3, 5, ONE_SIDED, skip=0.5, generator=seeded())

        def forward(self, images, values):
            return self.images(images) + self.values(values)

    model, sample = Both(), (randn(1, 4, 3, 8, 8), randn(2, 4, 12))
    fast = accelerate(model, sample, dispatch="sparse")
    assert agree(fast(*sample), model(*sample))
    assert {layer.name for layer in fast.layers} >= {"values.layers.1", "values.head"}


class Viewing(nn.Module):
    """Images as PyTorch lays them are flattened without a copy."""

    def __init__(self):
        super().__init__()
        self.conv, self.phi, self.pool = nn.Conv2d(3, 8, 3), CReLU(0.3, 1.0), nn.MaxPool2d(2)
        self.fc = nn.Linear(72, 5)

    def forward(self, x):
        return self.fc(self.pool(self.phi(self.conv(x))).view(x.size(0), -1))


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.phi, self.b = nn.Linear(24, 40), CReLU(0.3, 1.0), nn.Linear(40, 24)

    def inner(self, x):
        return self.b(self.phi(self.a(x)))

    def forward(self, x):
        return x + checkpoint(self.inner, x, use_reentrant=False)


class ByItsRoom(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(24, 40), nn.Linear(40, 24)

    def forward(self, x):
        return self.b(sparsefield.nn.crelu(self.a(x), 0.3, m=1.0))


class Comparing(nn.Module):
    """Asks whether two shapes are equal, as a skip does."""

    def __init__(self):
        super().__init__()
        self.a, self.phi, self.b = nn.Linear(24, 40), CReLU(0.3, 1.0), nn.Linear(40, 24)

    def forward(self, x, y=None):
        update = self.b(self.phi(self.a(x)))
        if update.shape != (x if y is None else y).shape:
            return update
        return 0.5 * update + x


class Encoder(nn.Module):
    """PyTorch's own is called as a whole, and holds layers."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(24, 4, 48, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(24, 5)

    def forward(self, x):
        return self.head(self.encoder(x))


class Spectral(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = AutoEncoder()
        self.last = nn.utils.spectral_norm(nn.Linear(24, 24))

    def forward(self, x):
        return self.last(self.inner(x)[0].relu())


WAYS = {
    "view": (Viewing, (4, 3, 8, 8), {"conv", "fc"}),
    "checkpoint": (Checkpointed, (4, 24), {"a to b"}),
    "compiled": (lambda: torch.compile(Checkpointed(), backend="eager"), (4, 24), {"a to b"}),
    "comparing": (Comparing, (4, 24), {"a to b"}),
    "by its room": (ByItsRoom, (4, 24), {"a to b"}),
    "encoder": (
        *(Encoder, (4, 7, 24)),
        {"head", *(f"encoder.layers.{i}.linear{n}" for i in (0, 1) for n in (1, 2))},
    ),
    "spectral norm": (
        *(Spectral, (4, 24)),
        {"inner.encoder.0 to inner.decoder.2"},
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("way", WAYS)
def test_ways_to_write_a_model(way):
    make, shape, pieces = WAYS[way]
    model, x = settled(make()).eval(), randn(1, *shape)
    fast = accelerate(model, x, dispatch="sparse")
    assert kernels() is None or set(fast.pieces) == pieces
    assert agree(fast(x), model(x))
    assert agree(fast(x[:1]), model(x[:1]))


def test_shapes_that_are_not_equal_any_more():
    model, x, y = settled(Comparing()).eval(), randn(1, 4, 24), randn(2, 4, 24)
    fast = accelerate(model, (x, y), dispatch="sparse")
    assert agree(fast(x, y), model(x, y))
    assert agree(fast(x, y[:2]), model(x, y[:2]))
    assert not agree(fast(x, y), fast(x, y[:2]))
    unequal = accelerate(model, (x, y[:2]), dispatch="sparse")
    assert unequal.untraced is not None
    assert agree(unequal(x, y[:2]), model(x, y[:2]))


# What is measured


@KERNELS
def test_a_piece_that_gains_nothing_leaves_the_model_as_it_was(monkeypatch):
    from sparsefield.engine import dispatch

    real = dispatch.seconds

    def slow_lists(calls, budget=0.0):
        taken = real(calls, 0.0)
        return {key: 1.0 if key == "lists" else 0.5 for key in taken} if "lists" in taken else taken

    monkeypatch.setattr(dispatch, "seconds", slow_lists)
    model, x = own("autoencoder").eval(), randn(1, 6, 24)
    with pytest.warns(UserWarning, match="AutoEncoder runs as it was: by measurement"):
        fast = accelerate(model, x)
    assert not fast.gains(6)
    assert "encoder.0 to encoder.2" in fast.runs_dense
    assert all(torch.equal(a, b) for a, b in zip(fast(x), model(x), strict=True))


@KERNELS
@pytest.mark.parametrize("whole", [0.9, 1.1])
def test_the_whole_is_measured_too(monkeypatch, whole):
    """Pieces may gain what going to and fro loses."""
    from sparsefield.engine import dispatch

    real, seen = dispatch.seconds, []

    def told(calls, budget=0.0):
        taken = real(calls, 0.0)
        if "lists" not in taken:
            return taken
        seen.append(calls)
        return {"lists": 0.1 if len(seen) <= 4 else whole, "as it was": 1.0}

    monkeypatch.setattr(dispatch, "seconds", told)
    fast = accelerate(own("autoencoder"), randn(1, 6, 24))
    assert len(seen) == 2 * 2 + 2
    assert fast.gains(6) == (whole < 1.0)


def test_layers_by_name():
    model, x = own("autoencoder").eval(), randn(1, 6, 24)
    fast = accelerate(model, x, dispatch={"encoder.0": "sparse", "encoder.2": "dense"})
    runs = {layer.name: layer.runs for layer in fast.layers}
    assert runs["encoder.0"] == "sparse"
    assert runs["encoder.2"] in ("rows", "torch")
    assert agree(fast(x), model(x))
    with pytest.raises(InvalidInput, match="'tail': no layer of that name"):
        fast.override({"tail": "dense"})
    fast.override("dense")
    assert {layer.runs for layer in fast.layers} == {"torch"}


@KERNELS
@pytest.mark.parametrize("storage", ["bfloat16", "int8"])
def test_rounded_weights(storage):
    model, x = own("autoencoder").eval(), randn(1, 6, 24)
    fast = accelerate(model, x, dispatch="sparse", storage=storage)
    assert agree(fast(x), model(x), 0.2)
    assert not agree(fast(x), model(x))


# The model stays as it is, and is watched


@pytest.mark.parametrize("name", OWN)
def test_the_model_is_left_as_it_was(name):
    model, arguments = own(name), OWN[name][1](4)
    given = [x.clone() for x in leaves(arguments)] if isinstance(arguments, tuple) else []
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    attributes = {n: set(vars(m)) for n, m in model.named_modules()}
    fast = accelerate(model, arguments)
    called(fast, arguments)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(v, state[n]) for n, v in model.state_dict().items())
    assert {n: set(vars(m)) for n, m in model.named_modules()} == attributes
    assert all(m.training for m in model.modules())
    assert all(map(torch.equal, given, leaves(arguments))) if given else True
    assert list(fast.state_dict()) == list(state)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.phi, self.b, self.gain = (
            nn.Linear(24, 24),
            CReLU(0.5, 1.0),
            nn.Linear(24, 9),
            2.0,
        )
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.gain * self.b(self.phi(self.a(x)))


CHANGES = {
    "a weight": lambda m: nn.init.zeros_(m.a.weight),
    "a bias": lambda m: setattr(m.a, "bias", None),
    "a layer": lambda m: setattr(m, "b", nn.Linear(24, 9)),
    "tau": lambda m: setattr(m.phi, "tau", 0.75),
    "m": lambda m: setattr(m.phi, "m", 0.75),
    "a constant of yours": lambda m: setattr(m, "gain", 3.0),
    "one layer more": lambda m: m.add_module("c", nn.Linear(2, 2)),
    "an activation": lambda m: setattr(m, "phi", nn.ReLU()),
}


@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_seen(change, batch):
    model, x = settled(Scaled()), randn(1, batch, 24)
    fast = accelerate(model, x, dispatch="sparse")
    for _ in range(20):
        fast(x)
        model(x)  # counts its calls, which is no change
    fast.check()
    CHANGES[change](model)

    def calls():  # some are looked at in turn
        for _ in range(5):
            fast(x)

    with pytest.raises(StaleEngine, match="changed since accelerate.*call it again"):
        calls()
    with pytest.raises(StaleEngine):
        fast.check()


def test_use_is_no_change():
    model, arguments = own("resnet"), OWN["resnet"][1](4)
    fast = accelerate(model, arguments)
    model.eval()
    model(*arguments).sum().backward()
    model.zero_grad()
    model.train()
    fast.check()
    fast(*arguments)


@pytest.mark.parametrize("name", [*OWN, "branching", "partly"])
@pytest.mark.parametrize("how", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_follow_models_of_their_own(name, how):
    others = {"branching": (Branching, (4, 24)), "partly": (Partly, (4, 3, 8, 8))}
    make, shape = others.get(name, (None, ()))
    model = settled(make()) if make else own(name)
    arguments = (randn(1, *shape),) if make else OWN[name][1](4)
    fast = accelerate(model, arguments, dispatch="sparse")
    twin = how(fast)
    assert repr(twin) == repr(fast)
    expected = called(fast, arguments)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    assert agree(called(twin, arguments), expected)
    twin.check()
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    with pytest.raises(StaleEngine):
        twin.check()


# What is refused


def test_what_is_refused(tmp_path):
    x = randn(1, 4, 24)

    class Nothing(nn.Module):
        def forward(self, x):
            return x.sin()

    with pytest.raises(InvalidInput, match="Nothing: holds no Linear or Conv2d"):
        accelerate(Nothing(), x)
    with pytest.raises(InvalidInput, match=r"sample: ResNet cannot be called with it \(RuntimeErr"):
        accelerate(ResNet(), x)
    with pytest.raises(InvalidInput, match="list: give a torch.Tensor, a tuple"):
        accelerate(ResNet(), [x])
    with pytest.raises(InvalidInput, match=r"encoder.0: .*float64.*float\(\).cpu"):
        accelerate(own("autoencoder").double(), x.double())
    with pytest.raises(InvalidInput, match=r"place: is on meta.*load the weights"):
        accelerate(Transformer().to("meta"), x)
    with pytest.raises(InvalidInput, match=r"0.weight: is on meta or not yet made"):
        accelerate(nn.Sequential(nn.LazyLinear(5)), x)
    with pytest.raises(InvalidInput, match="no row"):
        accelerate(own("autoencoder"), x[:0])
    with pytest.raises(InvalidInput, match="Accelerated: an engine file holds a chain.*save the m"):
        save_engine(accelerate(own("autoencoder"), x), tmp_path / "engine")


def test_no_kernels(monkeypatch):
    from sparsefield.engine import accelerating, anymodel, bodies, native, runner

    for module in (native, runner, accelerating, anymodel, bodies):
        monkeypatch.setattr(module, "kernels", lambda: None)
    for name in OWN:
        model, arguments = own(name).eval(), OWN[name][1](3)
        assert agree(
            called(accelerate(model, arguments, dispatch="sparse"), arguments),
            called(model, arguments),
        )
