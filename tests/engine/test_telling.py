"""What a training engine tells of activations it has not called, and the push of their penalty."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sparsefield import CNN, Hold, accelerate, solve
from sparsefield.engine.native import kernels
from sparsefield.engine.training import TrainingEngine
from sparsefield.nn import hold as holding

from .chains import randn
from .models import ONE_SIDED, TWO_SIDED, dnn, drawn

pytestmark = pytest.mark.skipif(kernels() is None, reason="built without a compiler")
SETS = kernels().instruction_sets() if kernels() else []


@pytest.fixture(autouse=True)
def every_pass(monkeypatch):
    """Look at every pass."""
    monkeypatch.setattr(holding, "LOOK", 1)


def images(point=ONE_SIDED):
    generator = torch.Generator().manual_seed(0)
    return CNN(2, 20, 4, 7, point, pool=2, strides=(1,), skip=0.5, generator=generator)


MODELS = {
    "plain": lambda: (dnn(ONE_SIDED, width=33, depth=6), randn(1, 37, 37)),
    "skip": lambda: (dnn(ONE_SIDED, width=70, depth=6, skip=0.9), randn(1, 37, 37)),
    "two-sided": lambda: (dnn(TWO_SIDED, width=33, depth=4), randn(1, 37, 37)),
    "images": lambda: (images(), randn(1, 5, 2, 8, 8)),
    "relu": lambda: (
        drawn(nn.Linear(9, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 7)),
        randn(1, 37, 9),
    ),
}


def step(model, run, x, u):
    """Gradients of a loss with the penalty at control ``u``, by way of ``run``; and its Hold."""
    hold = Hold(run, 0.95)
    model.zero_grad()
    for _ in range(2):
        hold.control.summed = u
        with hold:
            out = run(x)
        penalty = hold.penalty()
    (out.square().mean() + 3.0 * penalty).backward()
    return [p.grad.clone() for p in model.parameters()], penalty.item(), hold


def worst(one, other):
    return max(
        float((a - b).norm() / b.norm()) if b.norm() > 0 else float(a.norm())
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("u", [6.0, -6.0])
@pytest.mark.parametrize("instruction_set", SETS)
def test_gradients_and_what_is_told_are_those_of_the_model(name, u, instruction_set):
    model, x = MODELS[name]()
    dense, penalty, hold = step(model, model, x, u)
    engine = TrainingEngine(model, instruction_set=instruction_set)
    found, told_penalty, told = step(model, engine, x, u)
    assert worst(found, dense) < 1e-4
    assert told_penalty == pytest.approx(penalty, rel=1e-5)
    assert told.zeros == pytest.approx(hold.zeros, abs=1e-7)
    assert [row.name for row in told.table().rows] == [row.name for row in hold.table().rows]
    for one, other in zip(told.table().rows, hold.table().rows, strict=True):
        assert one.zeros == pytest.approx(other.zeros, abs=1e-6)
    without = step(model, engine, x, 0.0)[0]
    assert worst(without, dense) > 1e-2  # the twin: no push


@pytest.mark.parametrize("lists", [["layers.2", "head"], ["layers.1", "layers.3"]])
def test_what_runs_dense_tells_as_well(lists):
    model, x = MODELS["skip"]()
    dense, penalty, hold = step(model, model, x, 5.0)
    found, told_penalty, told = step(model, TrainingEngine(model, lists=lists), x, 5.0)
    assert worst(found, dense) < 1e-4
    assert told_penalty == pytest.approx(penalty, rel=1e-5)
    assert told.zeros == pytest.approx(hold.zeros, abs=1e-7)


def test_where_nobody_looks_the_gradients_are_exact_and_the_value_is_that_of_the_last_look(
    monkeypatch,
):
    monkeypatch.setattr(holding, "LOOK", 2)
    (model, x), found, values = MODELS["skip"](), [], []
    for run in (model, TrainingEngine(model)):
        hold = Hold(run, 0.95)
        hold.control.summed = 6.0
        for batch in (x, x.flip(0) * 1.1):
            with hold:
                out = run(batch)
            penalty = hold.penalty()
            values.append(penalty.item())
        model.zero_grad()
        (out.square().mean() + penalty).backward()
        found.append([p.grad.clone() for p in model.parameters()])
    assert worst(*found) < 1e-4
    assert values[3] == pytest.approx(values[2], rel=1e-6) == pytest.approx(values[0], rel=1e-5)
    assert values[1] != pytest.approx(values[0], rel=1e-3)


def test_the_fused_update_has_the_push():
    ends = []
    for fast in (False, True):
        model, x = MODELS["skip"]()
        run = TrainingEngine(model) if fast else model
        optimizer = (
            run.optimizer(torch.optim.SGD, lr=0.1)
            if fast
            else torch.optim.SGD(model.parameters(), lr=0.1)
        )
        hold = Hold(run, 0.95)
        hold.control.summed = 4.0
        for _ in range(4):
            with hold:
                out = run(x)
            optimizer.zero_grad()
            (out.square().mean() + hold.penalty()).backward()
            optimizer.step()
        ends.append([p.detach().clone() for p in model.parameters()])
    assert worst(*ends) < 1e-4


def backward_of_the_penalty(run, model, x, summed):
    """Written to the parameters: those of the penalty of a second pass alone."""
    hold = Hold(run, 0.95)
    hold.control.summed = summed
    for _ in range(2):
        with hold:
            run(x)
        penalty = hold.penalty()
    model.zero_grad()
    penalty.backward()


def test_a_loss_of_the_penalty_alone():
    model, x = MODELS["plain"]()
    found = []
    for run in (model, TrainingEngine(model)):
        backward_of_the_penalty(run, model, x, 4.0)
        found.append([p.grad.clone() for p in model.layers.parameters()])
    assert worst(*found) < 1e-4


def test_frozen_layers_pass_the_push_on():
    model, x = MODELS["plain"]()
    model.layers[2].weight.requires_grad_(False)
    found = []
    for run in (model, TrainingEngine(model)):
        backward_of_the_penalty(run, model, x, 6.0)
        found.append([p.grad.clone() for p in model.layers[:2].parameters()])
    assert worst(*found) < 1e-4


def test_nothing_is_told_outside_the_block_or_without_gradients():
    model, x = MODELS["plain"]()
    engine, heard = TrainingEngine(model), []
    with engine.telling(lambda *told: heard.append(told), look=True):
        engine(x)
        assert len(heard) == 1
        with torch.no_grad():
            engine(x)
    engine(x)
    assert len(heard) == 1
    with (
        pytest.raises(ValueError, match="inside"),
        engine.telling(lambda *told: heard.append(told), look=True),
    ):
        raise ValueError("inside")
    engine(x)
    assert len(heard) == 1


def test_a_user_holds_what_accelerate_returns():
    point = solve("crelu", sparsity=0.6, q=4.0, clip=2.0)
    model = dnn(point, width=40, depth=5, skip=0.9)
    x, y = randn(1, 256, 37), torch.randint(7, (256,), generator=torch.Generator().manual_seed(0))
    fast = accelerate(model, x, train=True)
    optimizer = fast.optimizer(torch.optim.Adam, lr=3e-3)
    hold = Hold(fast, 0.9)
    for _ in range(300):
        with hold:
            loss = F.cross_entropy(fast(x), y)
        optimizer.zero_grad()
        (loss + hold.penalty()).backward()
        optimizer.step()
    assert hold.zeros == pytest.approx(0.9, abs=0.02)
    twin = Hold(copy.deepcopy(model), 0.9)
    with twin:
        twin._model(x)
    twin.penalty()
    assert twin.zeros == pytest.approx(hold.zeros, abs=0.01)
