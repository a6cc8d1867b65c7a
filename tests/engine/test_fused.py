"""The fused update against torch's own optimisers."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sparsefield.engine.native import kernels
from sparsefield.engine.training import TrainingEngine
from sparsefield.errors import InvalidInput

from .chains import randn
from .models import TWO_SIDED, dnn, shared_layer

pytestmark = pytest.mark.skipif(kernels() is None, reason="built without a compiler")
SETS = kernels().instruction_sets() if kernels() else []
RULES = {
    "sgd": (torch.optim.SGD, {"lr": 0.05}),
    "sgd with decay": (torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.1}),
    "momentum": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "dampening": 0.3}),
    "nesterov": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {"lr": 1e-3}),
    "adam with decay": (torch.optim.Adam, {"lr": 1e-3, "weight_decay": 0.1}),
    "adamw": (torch.optim.AdamW, {"lr": 1e-3, "betas": (0.8, 0.99), "eps": 1e-6}),
}


def batch(step):
    return randn(step, 33, 37), torch.arange(33) % 7


def train(model, optimizer, steps, first=0):
    for step in range(first, first + steps):
        x, y = batch(step)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def apart(model, other, start):
    """By norm, how far two are from one another, of the way that they went; the largest."""
    return max(
        float((a - b).detach().norm() / (b - c).detach().norm().clamp(min=1e-6))
        for a, b, c in zip(model.parameters(), other.parameters(), start.parameters(), strict=True)
    )


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("skip", [0.0, 0.9])
def test_equals_torch_to_rounding(name, rule, skip):
    kind, options = RULES[rule]
    model = dnn(skip=skip, width=70)
    start, other = copy.deepcopy(model), copy.deepcopy(model)
    engine = TrainingEngine(model, instruction_set=name)
    train(engine, engine.optimizer(kind, **options), 6)
    # gradients of the same lists, written, and torch's update
    unfused = TrainingEngine(other, instruction_set=name)
    train(unfused, kind(unfused.parameters(), **options), 6)
    assert apart(model, other, start) < 2e-3
    assert all(p.grad is None for s in engine.segments for p in s.parameters)
    elsewhere = copy.deepcopy(start)
    train(elsewhere, kind(elsewhere.parameters(), **{**options, "lr": 1.1 * options["lr"]}), 6)
    assert apart(model, elsewhere, start) > 2e-3


@pytest.mark.parametrize("rule", RULES)
def test_states_go_both_ways(rule):
    """Three steps by one, three by the other: as six by torch."""
    kind, options = RULES[rule]
    start = dnn(TWO_SIDED, width=40)
    plain = copy.deepcopy(start)
    optimizer = kind(plain.parameters(), **options)
    train(plain, optimizer, 6)
    for first_fused in (True, False):
        model = copy.deepcopy(start)
        engine = TrainingEngine(model)
        makers = [
            lambda engine=engine: engine.optimizer(kind, **options),
            lambda engine=engine: kind(engine.parameters(), **options),
        ]
        one, two = makers if first_fused else makers[::-1]
        before = one()
        train(engine, before, 3)
        for segment in engine.segments:
            segment.later = None
        after = two()
        assert set(before.state_dict()) == set(after.state_dict())
        after.load_state_dict(copy.deepcopy(before.state_dict()))
        train(engine, after, 3, first=3)
        assert apart(model, plain, start) < 2e-2
        ours, torchs = after.state_dict(), optimizer.state_dict()
        assert ours["param_groups"] == torchs["param_groups"]
        keys = {number: set(state) for number, state in torchs["state"].items()}
        assert {number: set(state) for number, state in ours["state"].items()} == keys


def test_a_state_laid_out_as_pytorch_does_is_taken():
    model, plain = dnn(), dnn()
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3)
    train(plain, optimizer, 3)
    engine = TrainingEngine(model)
    engine.load_state_dict(plain.state_dict())
    fused = engine.optimizer(torch.optim.Adam, lr=1e-3)
    fused.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # torch's shares what it loads
    start = copy.deepcopy(plain)
    train(engine, fused, 3, first=3)
    train(plain, optimizer, 3, first=3)
    assert apart(model, plain, start) < 2e-3


def test_groups_and_schedules():
    model = dnn(skip=0.5)
    start, other = copy.deepcopy(model), copy.deepcopy(model)
    engine = TrainingEngine(model)

    def groups(module):
        named = list(module.named_parameters())
        return [
            {"params": [p for n, p in named if n.endswith("weight")], "weight_decay": 0.1},
            {"params": [p for n, p in named if n.endswith("bias")], "weight_decay": 0.0},
        ]

    ours = engine.optimizer(torch.optim.AdamW, params=groups(engine), lr=1e-3)
    torchs = torch.optim.AdamW(groups(other), lr=1e-3)
    schedules = [torch.optim.lr_scheduler.StepLR(o, 1, 0.5) for o in (ours, torchs)]
    for step in range(4):
        train(engine, ours, 1, first=step)
        train(other, torchs, 1, first=step)
        for schedule in schedules:
            schedule.step()
    assert apart(model, other, start) < 2e-3


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
def test_what_no_sample_activates_stays_as_it_is(rule):
    kind, options = RULES[rule]
    model = dnn(width=60)
    with torch.no_grad():
        model.layers[1].bias[7] = -1e3  # dead: layer 2 never reads it
    engine = TrainingEngine(model)
    before = model.layers[2].weight.detach().clone()
    train(engine, engine.optimizer(kind, **options), 3)
    now = model.layers[2].weight.detach()
    assert torch.equal(now[:, 7], before[:, 7])
    assert not torch.equal(now, before)


def test_two_passes_before_a_step_and_clipping():
    model, other = dnn(), dnn()
    engine, start = TrainingEngine(model), dnn()
    ours = engine.optimizer(torch.optim.Adam, lr=1e-3)
    torchs = torch.optim.Adam(other.parameters(), lr=1e-3)
    for step in range(3):
        for module, optimizer in ((engine, ours), (other, torchs)):
            optimizer.zero_grad()
            for part in range(3):
                x, y = batch(10 * step + part)
                F.cross_entropy(module(x), y).backward()
            if step == 1:
                nn.utils.clip_grad_norm_(module.parameters(), 0.01)
            optimizer.step()
    assert apart(model, other, start) < 2e-3
    x, y = batch(99)
    ours.zero_grad()
    F.cross_entropy(engine(x), y).backward()
    assert engine.layers[2].weight.grad is None
    ours.write_gradients()
    assert engine.layers[2].weight.grad is not None


def test_zero_grad_forgets():
    engine = TrainingEngine(dnn())
    optimizer = engine.optimizer(torch.optim.SGD, lr=1.0)
    before = copy.deepcopy(engine.state_dict())
    engine(batch(0)[0]).sum().backward()
    optimizer.zero_grad()
    optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in engine.state_dict().items())


def zeroing(whose, to_none):
    def forget(x, **modules):
        modules["engine"](x).sum().backward()
        modules[whose].zero_grad(set_to_none=to_none)

    return forget


def for_the_input(x, engine, **_):
    torch.autograd.grad(engine(x.requires_grad_()).sum(), x)


def backward_to_the_input(x, engine, **_):
    engine(x.requires_grad_()).sum().backward(inputs=[x])


FORGOTTEN = {
    "autograd.grad": for_the_input,
    "backward(inputs)": backward_to_the_input,
    **{
        f"{whose}.zero_grad({to_none})": zeroing(whose, to_none)
        for whose in ("engine", "model", "optimizer")
        for to_none in (True, False)
    },
}


@pytest.mark.parametrize("way", FORGOTTEN)
def test_a_step_takes_only_what_was_left_for_it(way):
    """What autograd keeps to itself, or somebody has set to zero, no step sees."""
    plain, model = dnn(), dnn()
    engine = TrainingEngine(model)
    ours = engine.optimizer(torch.optim.SGD, lr=0.05)
    torchs = torch.optim.SGD(plain.parameters(), lr=0.05)
    for network, owner, optimizer in ((engine, model, ours), (plain, plain, torchs)):
        FORGOTTEN[way](batch(1)[0], engine=network, model=owner, optimizer=optimizer)
        x, y = batch(2)
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    assert apart(model, plain, dnn()) < 2e-3


def test_a_backward_pass_that_nobody_forgets_counts():
    """The negative twin: two passes and a step go another way than one pass and a step."""
    plain, model = dnn(), dnn()
    engine = TrainingEngine(model)
    ours = engine.optimizer(torch.optim.SGD, lr=0.05)
    engine(batch(1)[0]).sum().backward()
    for network, optimizer in ((engine, ours), (plain, torch.optim.SGD(plain.parameters(), 0.05))):
        x, y = batch(2)
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    assert apart(model, plain, dnn()) > 0.1


def test_what_was_frozen_in_backward_stays_where_it_is():
    """As with torch, whose ``grad`` it has none: also where it is thawed before the step."""
    model = dnn()
    engine = TrainingEngine(model)
    optimizer = engine.optimizer(torch.optim.SGD, lr=0.1)
    before = copy.deepcopy(dict(model.named_parameters()))
    model.layers[:3].requires_grad_(False)
    engine(batch(0)[0]).sum().backward()
    model.requires_grad_(True)
    optimizer.step()
    frozen = {"layers.0", "layers.1", "layers.2"}
    for name, value in model.named_parameters():
        assert value.equal(before[name]) == (name.rpartition(".")[0] in frozen)


@pytest.mark.parametrize("whose", ["engine", "model"])
def test_clipping_what_is_not_written_is_refused(whose):
    model = dnn()
    engine = TrainingEngine(model)
    optimizer = engine.optimizer(torch.optim.SGD, lr=0.05)
    before = model.layers[2].weight.clone()
    F.cross_entropy(engine(batch(0)[0]), batch(0)[1]).backward()
    nn.utils.clip_grad_norm_({"engine": engine, "model": model}[whose].parameters(), 0.01)
    with pytest.raises(InvalidInput, match="write_gradients"):
        optimizer.step()
    assert torch.equal(model.layers[2].weight, before)


def test_an_update_counts_as_a_change():
    engine = TrainingEngine(dnn())
    optimizer = engine.optimizer(torch.optim.SGD, lr=0.1)
    out = engine(batch(0)[0])
    out.sum().backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(InvalidInput, match="weights have changed"):
        out.sum().backward()


def test_frozen_layers_stay():
    model = dnn()
    model.layers[2].requires_grad_(False)
    engine, before = TrainingEngine(model), model.layers[2].weight.clone()
    train(engine, engine.optimizer(torch.optim.AdamW, lr=0.1), 2)
    assert torch.equal(model.layers[2].weight, before)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_bits_from_the_same_number_of_threads(threads):
    torch.set_num_threads(threads)
    states = []
    for _ in range(2):
        engine = TrainingEngine(dnn(skip=0.5))
        train(engine, engine.optimizer(torch.optim.Adam, lr=1e-3), 3)
        states.append([p.detach().clone() for p in engine.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_a_layer_that_runs_dense_too(rule):
    kind, options = RULES[rule]
    model, other, start = shared_layer(), shared_layer(), shared_layer()
    engine = TrainingEngine(model)
    train(engine, engine.optimizer(kind, **options), 3)
    train(other, kind(other.parameters(), **options), 3)
    assert apart(model, other, start) < 2e-3


def test_the_optimizer_may_go_first():
    engine = TrainingEngine(dnn())
    engine.optimizer(torch.optim.SGD, lr=0.1)
    engine(batch(0)[0]).sum().backward()
    assert engine.layers[2].weight.grad is not None


def test_what_is_refused():
    engine = TrainingEngine(dnn())
    with pytest.raises(InvalidInput, match="RMSprop: has no fused update"):
        engine.optimizer(torch.optim.RMSprop, lr=0.1)
    with pytest.raises(InvalidInput, match="amsgrad"):
        engine.optimizer(torch.optim.Adam, amsgrad=True)
    layer = nn.Linear(37, 37)
    twice = nn.Sequential(nn.ReLU(), layer, nn.ReLU(), layer)
    with pytest.raises(InvalidInput, match="share a parameter"):
        TrainingEngine(twice).optimizer(torch.optim.SGD, lr=0.1)
