"""accelerate(train=True) for models of any class: gradients as dense autograd has them."""

import copy
import pickle
from itertools import cycle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sparsefield.engine import AcceleratedTraining, StaleEngine, TrainingEngine, accelerate
from sparsefield.engine.calling import arguments, call_with, form_of
from sparsefield.engine.native import kernels
from sparsefield.errors import InvalidInput
from sparsefield.nn import CReLU

from .chains import randn
from .own_models import OWN, Branching, ResNet, called, leaves, own, settled
from .random_graphs import random_graph
from .test_any_model import WAYS

pytestmark = [
    pytest.mark.skipif(kernels() is None, reason="built without a compiler"),
    pytest.mark.filterwarnings("ignore:accelerate"),
]


def on_lists(model, sample) -> AcceleratedTraining:
    """All layers that can be, faster or not."""
    form, tensors = form_of(*arguments(model, *call_with(sample)))
    engine = AcceleratedTraining(model, form, tensors)
    engine._settle([*engine._pieces.values()])
    return engine


def gradients(model, sample) -> list[torch.Tensor]:
    """Outputs, and gradients of inputs and parameters of a random linear function of them."""
    model.zero_grad()
    torch.manual_seed(3)
    inputs = [x.requires_grad_() for x in leaves_of(sample) if x.is_floating_point()]
    for x in inputs:
        x.grad = None
    outputs = leaves(called(model, sample))
    sum((out * randn(9, *out.shape)).sum() for out in outputs).backward()
    held = [x.grad for x in (*inputs, *model.parameters())]
    found = [*(out.detach() for out in outputs), *(g for g in held if g is not None)]
    assert sum(g is None for g in held) <= 2
    return [g.clone() for g in found]


def leaves_of(sample):
    values = sample.values() if isinstance(sample, dict) else sample
    return [x for value in values if not isinstance(value, float) for x in leaves(value)]


def error(found, true) -> float:
    """By norm, the largest over the tensors."""
    assert len(found) == len(true)
    return max(
        float((a - b).norm() / b.norm()) if b.norm() > 0 else float(a.norm())
        for a, b in zip(found, true, strict=True)
    )


TRAINED = {
    "resnet": {"fc", *(f"stages.{n}" for n in ("0.conv1", "0.conv2", "1.conv1", "1.conv2"))}
    | {"stages.1.down"},
    "mixer": {f"blocks.{i}.{part}.2" for i in (0, 1) for part in ("tokens", "channels")},
    "transformer": {"blocks.0.down", "blocks.1.down"},
    "unet": {"d1.2", "d2.0", "d2.2", "merge.2", "out"},
    "autoencoder": {"encoder.2", "decoder.2"},
    "two inputs": {"shared", "a", "b"},
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", TRAINED)
def test_gradients_are_those_of_the_model(name, training):
    model, sample = own(name).train(training), OWN[name][1](5)
    state = copy.deepcopy(model.state_dict())
    engine = on_lists(model, sample)
    assert set(engine.on_lists) == TRAINED[name]
    found = gradients(engine, sample)
    after = copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    dense = gradients(model, sample)
    assert error(found, dense) < 2e-5
    assert list(engine.state_dict()) == list(state)
    for key, value in model.state_dict().items():
        assert torch.allclose(after[key].double(), value.double(), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "way", ["view", "comparing", "checkpoint", "compiled", "by its room", "spectral norm"]
)
def test_ways_to_write_a_model(way):
    make, shape, _ = WAYS[way]
    model, sample = settled(make()), (randn(1, *shape),)
    state = copy.deepcopy(model.state_dict())
    engine = on_lists(model, sample)
    assert engine.on_lists
    found = gradients(engine, sample)
    model.load_state_dict(state)
    assert error(found, gradients(model, sample)) < 2e-5


def test_wrong_gradients_are_far():
    model, sample = own("autoencoder"), OWN["autoencoder"][1](5)
    found = gradients(on_lists(model, sample), sample)
    with torch.no_grad():
        model.decoder[2].weight.mul_(1.01)
    assert error(found, gradients(model, sample)) > 1e-3


@settings(max_examples=40)
@given(data=st.data())
def test_random_graphs(data):
    model, make = random_graph(data)
    model.train(data.draw(st.booleans()))
    engine = on_lists(model, make(5))
    batch = data.draw(st.sampled_from([2, 5]))
    sample = make(batch)
    state = copy.deepcopy(model.state_dict())
    try:
        found = gradients_where_used(engine, sample)
    finally:
        model.load_state_dict(state)
    dense = gradients_where_used(model, sample)
    assert error(found, dense) < 1e-3


def gradients_where_used(model, sample):
    torch.manual_seed(3)
    inputs = [x.clone().requires_grad_() for x in sample]
    outputs = model(*inputs)
    total = sum((out * randn(9, *out.shape)).sum() for out in outputs)
    wanted = [*inputs, *model.parameters()]
    if not total.requires_grad:
        return [out.detach() for out in outputs]
    found = torch.autograd.grad(total, wanted, allow_unused=True)
    zeros = [torch.zeros_like(p) if g is None else g for p, g in zip(wanted, found, strict=True)]
    return [*(out.detach() for out in outputs), *zeros]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_forward_that_cannot_be_traced(sign):
    model, sample = settled(Branching()), (sign * randn(1, 5, 24),)
    engine = on_lists(model, sample)
    assert engine.untraced
    calls = []
    for piece in engine._pieces.values():
        by_lists = piece.by_lists
        piece.by_lists = lambda h, f=by_lists: calls.append(1) or f(h)
    found = gradients(engine, sample)
    assert len(calls) == 1  # the one that reads the activation
    assert error(found, gradients(model, sample)) < 1e-5
    assert "forward" not in vars(model.first)
    with pytest.warns(UserWarning, match="not traced, its layers notice"):
        accelerate(model, sample, train=True)


def test_modes_of_engine_and_model_are_one():
    model, sample = own("transformer"), OWN["transformer"][1](5)
    engine = on_lists(model, sample)
    engine.eval()
    assert not model.training
    assert not model.blocks[0].drop.training
    once, again = (engine(*sample)["logits"] for _ in range(2))
    assert torch.equal(once, again)
    assert torch.allclose(once, model(*sample)["logits"], rtol=1e-4, atol=1e-5)
    model.train()
    assert engine.training
    assert not torch.equal(engine(*sample)["logits"], engine(*sample)["logits"])  # dropout acts


def test_a_forward_that_asks_for_its_mode():
    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.phi, self.b = nn.Linear(24, 24), CReLU(0.5, 1.0), nn.Linear(24, 9)

        def forward(self, x):
            y = self.b(self.phi(self.a(x)))
            return F.dropout(y, 0.5, self.training) if self.training else 2.0 * y

    model, x = settled(Asking()), randn(1, 50, 24)
    engine = on_lists(model, x)
    assert 0.2 < float((engine(x) == 0).float().mean()) < 0.8
    engine.eval()
    assert torch.allclose(engine(x), model(x), rtol=1e-4, atol=1e-5)
    engine.train()
    assert (engine(x) == 0).any()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("fused", [True, False])
def test_a_model_learns_the_same(kind, fused):
    curves = []
    for lists in (True, False):
        model, (x,) = own("resnet"), OWN["resnet"][1](16)
        y = torch.arange(16) % 5
        engine = on_lists(model, x) if lists else model
        plain = None if lists and fused else kind(engine.parameters(), lr=0.01)
        optimizer, losses = plain or engine.optimizer(kind, lr=0.01), []
        for _ in range(12):
            loss = F.cross_entropy(engine(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        curves.append(torch.tensor(losses))
    assert torch.allclose(*curves, rtol=5e-3)
    assert curves[0][-1] < 0.9 * curves[0][0]


def test_measured_and_said():
    model, sample = own("resnet"), OWN["resnet"][1](4)
    state = copy.deepcopy(model.state_dict())
    engine = accelerate(model, sample, train=True)
    assert isinstance(engine, TrainingEngine)
    assert all(torch.equal(v, state[n]) for n, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    text = repr(engine)
    for word in ("stem.0 runs dense", "BatchNorm2d: stem.1", "AcceleratedTraining"):
        assert word in text
    assert "reads no activation" in engine.runs_dense["stem.0"]


@pytest.mark.parametrize("faster", [True, False])
def test_lists_where_they_are_faster(monkeypatch, faster):
    from sparsefield.engine import dispatch

    times = cycle([0.5, 1.0] if faster else [1.0, 0.5])
    monkeypatch.setattr(dispatch, "seconds", lambda calls, budget=0.0: {0: next(times)})
    model, x = own("autoencoder"), randn(1, 5, 24)
    weight, stride = model.encoder[2].weight, model.encoder[2].weight.stride()
    engine = accelerate(model, x, train=True)
    assert set(engine.on_lists) == ({"encoder.2", "decoder.2"} if faster else set())
    assert (weight.stride() == stride) != faster
    assert error(gradients(engine, (x,)), gradients(model, (x,))) < 1e-5


def test_changes_are_seen():
    model, x = own("autoencoder"), randn(1, 5, 24)
    engine = on_lists(model, x)
    engine(x)
    model.encoder[1].tau = 0.6
    with pytest.raises(StaleEngine):
        engine(x)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_train_by_themselves(how):
    model, sample = own("resnet"), OWN["resnet"][1](5)
    engine = on_lists(model, sample)
    twin = how(engine)
    assert twin.on_lists == engine.on_lists
    assert error(gradients(twin, sample), gradients(engine, sample)) < 1e-6
    with torch.no_grad():
        twin.fc.weight.zero_()
    assert model.fc.weight.any()


def test_what_is_refused():
    with pytest.raises(InvalidInput, match=r"sample: ResNet cannot be called"):
        accelerate(ResNet(), randn(1, 5, 24), train=True)

    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(24, 5)

        def forward(self, x):
            return self.layer(x).tanh()

    with pytest.raises(InvalidInput, match="Dense: holds no layer that reads a sparse activation"):
        accelerate(Dense(), randn(1, 5, 24), train=True)
    engine = on_lists(own("autoencoder"), randn(1, 5, 24))
    with pytest.raises(InvalidInput, match="autocast"), torch.autocast("cpu"):
        engine(randn(1, 5, 24))
