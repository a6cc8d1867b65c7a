"""Zeros led to a share and held there: the penalty by hand, its control, where runs end."""

import io
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from sparsefield import DNN, Hold, load, solve
from sparsefield.errors import InvalidInput
from sparsefield.nn import CReLU
from sparsefield.nn import hold as module
from sparsefield.nn.hold import LARGEST, MEMORY, PATIENCE, SMALL, SPEED, Control


@pytest.fixture
def every_pass(monkeypatch):
    """Look at every pass, so that each can be counted by hand."""
    monkeypatch.setattr(module, "LOOK", 1)


def network(*, dtype=torch.float64):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 9), CReLU(0.1, 0.7), nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 2)]
    return nn.Sequential(*layers).to(dtype)


def inputs(seed=0, *, dtype=torch.float64):
    return torch.randn(40, 6, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def layers_of(model, x):
    first = model[1](model[0](x))
    return [first, model[3](model[2](first))]


def held_pass(hold, model, x):
    with hold:
        out = model(x)
    return out, hold.penalty()


def test_zeros_are_exact_and_the_mean_over_the_activations():
    model, x = network(), inputs()
    hold = Hold(model, 0.9)
    held_pass(hold, model, x)
    shares = [(y == 0).double().mean().item() for y in layers_of(model, x)]
    assert hold.zeros == pytest.approx(np.mean(shares), rel=1e-6)
    assert [row.zeros for row in hold.table().rows] == pytest.approx(shares, rel=1e-6)
    assert [row.name for row in hold.table().rows] == ["1", "3"]


@pytest.mark.parametrize("summed", [4.0, -4.0])
def test_the_penalty_and_its_gradient_by_hand(summed, every_pass):
    model, x = network(), inputs()
    hold = Hold(model, 0.7)
    held_pass(hold, model, x)
    layers = layers_of(model, x)
    scale = np.mean([y.mean().item() for y in layers])
    scale /= np.mean([(y != 0).double().mean().item() for y in layers])
    hold.control.summed = summed
    found = torch.autograd.grad(held_pass(hold, model, x)[1], list(model[:3].parameters()))

    layers, weight = layers_of(model, x), hold.control.weight / scale
    assert weight * summed > 0
    rates = [(y != 0).double().mean(0) / 0.3 for y in layers]
    if summed < 0:
        rates = [torch.ones_like(rate) for rate in rates]
    parts = [(y.abs().mean(0) * rate).mean() for y, rate in zip(layers, rates, strict=True)]
    by_hand = weight * sum(parts) / 2
    want = torch.autograd.grad(by_hand, list(model[:3].parameters()), retain_graph=True)
    for one, other in zip(found, want, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-9)
    evenly = weight * sum(y.abs().mean() for y in layers) / 2  # the twin: all units alike
    alike = torch.autograd.grad(evenly, model[0].weight)[0]
    assert torch.allclose(found[0], alike, rtol=1e-5) is (summed < 0)


def test_the_first_pass_costs_nothing():
    model = network()
    assert held_pass(Hold(model, 0.9), model, inputs())[1].item() == 0.0


def test_the_penalty_is_free_of_the_units_of_the_activations():
    penalties = []
    for scale in (1.0, 1000.0):
        model = nn.Sequential(nn.Linear(6, 30, bias=False, dtype=torch.float64), nn.ReLU())
        torch.manual_seed(1)
        nn.init.normal_(model[0].weight, std=scale)
        hold = Hold(model, 0.9)
        hold.control.summed = 2.0
        penalties.append(held_pass(hold, model, inputs())[1].item())
    assert penalties[0] == pytest.approx(penalties[1], rel=1e-6)


def test_channels_are_units(every_pass):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    nn.init.constant_(model[0].bias[1:2].detach(), -100.0)
    hold = Hold(model, 0.9)
    for _ in range(PATIENCE):
        held_pass(hold, model, torch.randn(4, 1, 6, 6))
    assert hold.dead_share == pytest.approx(1 / 3)


def test_a_unit_is_dead_after_so_many_passes_and_lives_again(every_pass):
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    nn.init.constant_(model[0].bias.detach()[:1], -1e3)
    nn.init.constant_(model[0].bias.detach()[1:], 1e3)
    hold, x = Hold(model, 0.9), inputs(dtype=torch.float32)
    for passes in range(1, PATIENCE + 1):
        held_pass(hold, model, x)
        assert hold.dead_share == (0.25 if passes == PATIENCE else 0.0)
    assert hold.table().rows[0].dead == 0.25
    nn.init.constant_(model[0].bias.detach()[:1], 1e3)
    held_pass(hold, model, x)
    assert hold.dead_share == 0.0


def test_how_often_a_unit_fires_is_a_running_average(every_pass):
    model, hold = network(), None
    hold = Hold(model, 0.9)
    expected = None
    for seed in range(3):
        held_pass(hold, model, inputs(seed))
        active = (layers_of(model, inputs(seed))[0] != 0).float().mean(0)
        expected = active if expected is None else expected + MEMORY * (active - expected)
        if seed == 0:
            first = active
    rate = 1.0 - hold.table().rows[0].zeros
    assert rate == pytest.approx(float(expected.mean()), rel=1e-5)
    assert rate != pytest.approx(float(first.mean()), rel=1e-5)


# --- the control


shares = st.floats(0.0, 1.0)


@given(st.lists(shares, max_size=40), shares, shares, st.floats(0.05, 0.99))
def test_more_zeros_never_lead_to_a_larger_weight(before, one, other, wanted):
    weights = []
    for last in (min(one, other), max(one, other)):
        control = Control(wanted)
        for zeros in [0.5, *before, last]:
            control.after(zeros)
        weights.append(control.weight)
    assert weights[0] >= weights[1]
    assert all(abs(weight) <= SMALL * math.sinh(LARGEST) for weight in weights)


def test_the_weight_has_a_bound_and_comes_back_from_it():
    control = Control(0.9)
    for _ in range(300):
        control.after(0.0)
    assert control.weight == pytest.approx(SMALL * math.sinh(LARGEST))
    for _ in range(500):
        control.after(0.99)
    assert control.weight < 0.0


@given(st.floats(0.0, 0.95), st.floats(0.5, 0.99))
def test_the_course_goes_from_the_first_pass_to_the_end_by_equal_factors(first, wanted):
    control, course = Control(wanted), []
    for _ in range(300):
        control.after(first)
        course.append(control.course)
    assert course[0] == pytest.approx(math.log(1.0 - first))
    assert course[-1] == pytest.approx(math.log(1.0 - wanted))
    moves = np.abs(np.diff(course))
    assert (moves <= SPEED * 1.000001).all()
    assert sum(0.0 < move < SPEED * 0.999999 for move in moves) <= 1


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 0.9), st.floats(0.7, 0.98), st.floats(0.02, 0.1), st.floats(0.6, 2.0))
def test_it_lands_wherever_the_weight_moves_the_zeros(start, wanted, speed, pull):
    """A toy: within tens of passes the zeros are what the weight makes of them."""
    control, log_active, least = Control(wanted), math.log(1.0 - start), 0.0
    for _ in range(2000):
        at_rest = math.log(1.0 - start) - pull * math.asinh(10.0 * control.weight)
        log_active = min(0.0, log_active + speed * (at_rest - log_active))
        control.after(1.0 - math.exp(log_active))
        least = min(least, log_active)
    assert 1.0 - math.exp(log_active) == pytest.approx(wanted, abs=0.001)
    lowest = min(math.log(1.0 - wanted), math.log(1.0 - start))
    assert least > lowest - 0.7  # on the way never half of what is to be active at the end


# --- where a training ends


def trained(hold_at, *, seed=0, start=("relu", 0.5, {}), skip=0.9, steps=400, resume_at=None):
    """Zeros of a small network on the digits' test set, accuracy, and its parameters."""
    data = load("digits")
    family, sparsity, clip = start
    point = solve(family, sparsity=sparsity, q=4.0, **clip)
    generator = torch.Generator().manual_seed(seed)
    model = DNN(64, 60, 5, 10, point, skip=skip, head_gain=3.0, generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    hold = Hold(model, hold_at or 0.5)
    for step in range(steps):
        if step == resume_at:
            state = hold.state_dict()
            hold = Hold(model, hold_at)
            hold.load_state_dict(through_a_file(state))
        chosen = torch.randint(len(data.train_y), (64,), generator=generator)
        with hold:
            loss = cross_entropy(model(data.train_x[chosen]), data.train_y[chosen])
        penalty = hold.penalty()
        optimizer.zero_grad()
        (loss + penalty if hold_at else loss).backward()
        optimizer.step()
        schedule.step()
    seen = Hold(model, 0.5)
    with seen:
        logits = model(data.test_x)
    seen.penalty()
    return seen.zeros, (logits.argmax(1) == data.test_y).float().mean().item(), model


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize(("wanted", "seed"), [(0.8, 0), (0.95, 1)])
def test_a_training_ends_within_a_point(wanted, seed):
    zeros, accuracy, _ = trained(wanted, seed=seed)
    assert zeros == pytest.approx(wanted, abs=0.01)
    assert accuracy > 0.75


def test_without_it_a_training_ends_elsewhere():
    zeros, accuracy, _ = trained(None)
    assert abs(zeros - 0.8) > 0.02
    assert abs(zeros - 0.95) > 0.02
    assert accuracy > 0.75


def test_zeros_are_led_down_as_well():
    start = ("crelu", 0.85, {"clip": 1.1})
    assert trained(None, start=start)[0] > 0.77
    assert trained(0.75, start=start)[0] == pytest.approx(0.75, abs=0.01)


def same(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_resumed_is_uninterrupted_bit_for_bit():
    whole = trained(0.9, steps=60)[2]
    assert same(whole, trained(0.9, steps=60, resume_at=37)[2])


@pytest.mark.parametrize("lost", ["control", "firing", "scale"])
def test_a_state_that_loses_a_part_ends_elsewhere(lost, monkeypatch):
    whole = trained(0.9, steps=60)[2]
    kept = Hold.state_dict
    fresh = {"control": Control(0.9).state_dict(), "firing": None, "scale": 1.0}
    monkeypatch.setattr(Hold, "state_dict", lambda hold: {**kept(hold), lost: fresh[lost]})
    assert not same(whole, trained(0.9, steps=60, resume_at=37)[2])


# --- the block


def test_hooks_come_off_and_errors_leave_nothing():
    model = network()
    hold = Hold(model, 0.9)
    held_pass(hold, model, inputs())
    before = hold.state_dict()["control"]
    with pytest.raises(RuntimeError, match="shapes"), hold:
        model(inputs()[:, :5])
    assert not any(layer._forward_hooks for layer in model)
    assert hold.state_dict()["control"] == before
    with pytest.raises(InvalidInput, match="belongs to a pass that has ended, once"):
        hold.penalty()


def test_passes_without_gradients_and_outside_do_not_count():
    model = network()
    hold = Hold(model, 0.9)
    model(inputs())
    with hold, torch.no_grad():
        model(inputs())
    assert math.isnan(hold.zeros)
    assert hold.table().rows == ()
    with pytest.raises(InvalidInput, match="call the model inside `with hold:`"):
        hold.penalty()


def test_a_penalty_that_was_not_used_is_said():
    model = network()
    hold = Hold(model, 0.9)
    with hold:
        model(inputs())
    with pytest.warns(UserWarning, match="without hold.penalty.*add it to the loss"), hold:
        model(inputs())
    hold.penalty()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        held_pass(hold, model, inputs())
    with pytest.raises(InvalidInput, match="once"):
        hold.penalty()


def test_a_block_in_a_block_is_refused():
    hold = Hold(network(), 0.9)
    with hold, pytest.raises(InvalidInput, match="open already"), hold:
        pass


def test_two_passes_in_a_block_are_one_measurement():
    model = network()
    hold = Hold(model, 0.9)
    with hold:
        model(inputs(0))
        model(inputs(1))
    hold.penalty()
    shares = [(y == 0).double().mean().item() for s in (0, 1) for y in layers_of(model, inputs(s))]
    assert hold.zeros == pytest.approx(np.mean(shares), rel=1e-6)


def test_several_processes_agree_on_the_mean():
    """Each of two sees its half; what they are told is the mean of both."""
    model, halves = network(), [inputs(0), inputs(1)]
    alone = Hold(model, 0.9)
    held_pass(alone, model, torch.cat(halves))
    seen = []
    for half in halves:
        held_pass(Hold(model, 0.9, reduce=lambda t: seen.append(t) or t), model, half)
    means = [
        (a + b) / 2 for a, b in zip(seen[: len(seen) // 2], seen[len(seen) // 2 :], strict=True)
    ]
    told = iter(means)
    shared = Hold(model, 0.9, reduce=lambda _: next(told))
    held_pass(shared, model, halves[0])
    assert shared.zeros == pytest.approx(alone.zeros, rel=1e-6)
    ours, theirs = shared.state_dict(), alone.state_dict()
    assert ours["scale"] == pytest.approx(theirs["scale"], rel=1e-6)


def test_of_four_passes_one_is_looked_at():
    model = network()
    hold, shares, weights = Hold(model, 0.9), [], []
    for seed in range(9):
        held_pass(hold, model, inputs(seed))
        shares.append(hold.zeros)
        weights.append(hold.control.weight)
    assert [len(set(shares[i : i + 4])) for i in (0, 4)] == [1, 1]
    assert len(set(shares)) == len(set(weights)) == 3


def test_sums_of_bfloat16_are_kept_in_float32():
    model = network(dtype=torch.float32)
    hold = Hold(model, 0.5)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16), hold:
            model(inputs(dtype=torch.float32))
        assert hold.penalty().dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"zeros": 1.0}, r"^zeros 1.0: a share in \(0, 1\); try 0.9$"),
        ({"zeros": math.nan}, r"^zeros nan: a share"),
        ({"zeros": 0.0}, r"^zeros 0.0: a share"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        Hold(network(), **arguments)


def test_a_model_without_activations_is_refused():
    with pytest.raises(InvalidInput, match="holds no activation module"):
        Hold(nn.Sequential(nn.Linear(2, 2)), 0.9)


def test_the_table_prints():
    model = network()
    hold = Hold(model, 0.9)
    held_pass(hold, model, inputs())
    assert str(hold.table()).splitlines()[0].split() == ["activation", "zeros", "dead"]
