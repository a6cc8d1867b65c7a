"""A model that goes on lists and off them between steps, and is seen at work on them."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from sparsefield import CNN, DNN, solve
from sparsefield.engine.choosing import DENSE
from sparsefield.engine.links import Dense
from sparsefield.engine.switching import Switch, lay_moments
from sparsefield.engine.training import Segment, TrainingEngine
from sparsefield.monitor import Monitor
from sparsefield.watch import Watch, activation_modules

EPS = torch.finfo(torch.float32).eps
DEPTH, WIDTH, BATCH = 6, 40, 32
# Sums of WIDTH terms in another order, layer after layer, there and back.
TOLERANCE = 2 * DEPTH * WIDTH**0.5 * EPS


@pytest.fixture(params=[0.0, 0.9], ids=["plain", "skip"])
def model(request):
    point = solve("crelu", sparsity=0.7, q=4.0, clip=1.1)
    generator = torch.Generator().manual_seed(0)
    return DNN(20, WIDTH, DEPTH, 5, point, skip=request.param, generator=generator)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, 20, generator=generator)
    return x, torch.randint(5, (BATCH,), generator=generator)


def gradients(model, run, batch):
    model.zero_grad()
    cross_entropy(run(batch[0]), batch[1]).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def error(found, wanted):
    """The largest, of any parameter's gradient by its norm."""
    pairs = zip(found, wanted, strict=True)
    return max(float((a - b).norm() / b.norm().clamp_min(1e-20)) for a, b in pairs)


@pytest.mark.parametrize("lists", [("layers.2", "layers.3", "head"), ("layers.1",), ("layers.5",)])
@pytest.mark.parametrize("watched", [True, False])
def test_layers_on_lists_between_dense_ones(model, batch, lists, watched):
    wanted = gradients(model, model, batch)
    switch = Switch(model)
    run = switch.turn_to(lists, watched=watched)
    assert error(gradients(model, run, batch), wanted) < TOLERANCE
    assert TrainingEngine(model, lists=lists).on_lists == lists
    kinds = [type(step) for step in TrainingEngine(model, lists=lists).steps]
    assert kinds.count(Dense) == DEPTH - len(lists)
    assert Segment in kinds


def test_the_comparison_sees_a_layer_that_reads_another_threshold(model, batch):
    wanted = gradients(model, model, batch)
    other = copy.deepcopy(model)
    other.activations[2].tau *= 1.001
    assert error(gradients(other, TrainingEngine(other), batch), wanted) > 10 * TOLERANCE


@pytest.mark.parametrize("lists", [None, ("layers.2", "head")])
def test_the_monitor_sees_on_lists_what_it_sees_dense(model, batch, lists):
    dense, watching = Monitor(model, every=1), Monitor(model, every=1)
    with dense.at(0):
        gradients(model, model, batch)
    switch = Switch(model)
    run = switch.turn_to(lists or switch.whole.on_lists, watched=True)
    with watching.at(0):
        gradients(model, run, batch)
    assert len(watching.rows) == DEPTH
    for one, other in zip(dense.rows, watching.rows, strict=True):
        assert one.pop("name") == other.pop("name")
        assert other == pytest.approx(one, rel=TOLERANCE, nan_ok=True)


def test_the_monitor_sees_images_on_lists_as_it_sees_them_dense():
    point = solve("crelu", sparsity=0.7, q=4.0, clip=1.1)
    generator = torch.Generator().manual_seed(0)
    model = CNN(3, 12, 4, 12, point, strides=(2,), skip=0.9, pool=2, generator=generator)
    batch = torch.randn(4, 3, 12, 12, generator=generator), torch.arange(4)
    dense, watching = Monitor(model, every=1), Monitor(model, every=1)
    with dense.at(0):
        gradients(model, model, batch)
    switch = Switch(model)
    with watching.at(0):
        gradients(model, switch.turn_to(switch.whole.on_lists, watched=True), batch)
    assert len(watching.rows) == 4
    for one, other in zip(dense.rows, watching.rows, strict=True):
        assert one.pop("name") == other.pop("name")
        assert other == pytest.approx(one, rel=9 * TOLERANCE, nan_ok=True)


def test_unwatched_lists_call_no_activation(model, batch):
    switch, calls = Switch(model), []
    with Watch(model, activation_modules(model)).passes(calls.append):
        switch.turn_to(switch.whole.on_lists, watched=False)(batch[0])
        assert not calls
        switch.turn_to(switch.whole.on_lists, watched=True)(batch[0])
    assert [call.place.order for call in calls] == list(range(DEPTH))
    assert {call.place.lap for call in calls} == {1}


def trained(model, batch, ways, fused=True, laid=True):
    """Weights after a step of Adam on each way."""
    switch = Switch(model)
    options = {"lr": 1e-3, "fused": True}
    if fused:
        optimizer = switch.whole.optimizer(torch.optim.Adam, **options)
    else:
        optimizer = torch.optim.Adam(model.parameters(), **options)
    switch.updated_by(optimizer if laid else None)
    for way, watched in ways:
        lists = switch.whole.on_lists if way is None else way
        switch.turn_to(lists, watched=watched)
        optimizer.zero_grad()
        cross_entropy(switch.module(batch[0]), batch[1]).backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


WAYS = [(None, False), (DENSE, False), (None, False), (("layers.2",), False), (None, True)]
WAYS += [(None, False), (DENSE, True), (("layers.2",), True), (None, False)]
# A step of Adam moves each weight by lr at most; what is rounded otherwise moves it by little less.
STEPS = 1e-3 * len(WAYS)


def apart(one, other):
    pairs = zip(one, other, strict=True)
    return sum(float((a - b).abs().sum()) for a, b in pairs) / sum(a.numel() for a in one)


@pytest.mark.parametrize("fused", [True, False])
def test_steps_on_any_way_follow_one_another(model, batch, fused):
    dense = trained(copy.deepcopy(model), batch, [(DENSE, False)] * len(WAYS))
    assert apart(trained(model, batch, WAYS, fused), dense) < 1e-3 * STEPS


def test_dense_steps_of_a_switch_are_those_of_the_model_to_the_last_bit(model, batch):
    twin = copy.deepcopy(model)
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3, fused=True)
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(twin(batch[0]), batch[1]).backward()
        optimizer.step()
    found = trained(model, batch, [(DENSE, False)] * 3)
    assert all(map(torch.equal, found, twin.parameters()))


def test_moments_that_lie_otherwise_than_their_weights_would_go_astray(model, batch):
    dense = trained(copy.deepcopy(model), batch, [(DENSE, False)] * len(WAYS))
    astray = trained(model, batch, WAYS, fused=False, laid=False)
    assert apart(astray, dense) > 10e-3 * STEPS


def test_moments_are_laid_as_their_weights():
    weight = torch.nn.Parameter(torch.zeros(5, 3).t())
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.5)
    moment = torch.arange(15.0).reshape(3, 5)
    optimizer.state[weight]["momentum_buffer"] = moment
    lay_moments(optimizer)
    held = optimizer.state[weight]["momentum_buffer"]
    assert held.equal(moment)
    assert held.stride() == weight.stride() != moment.stride()
