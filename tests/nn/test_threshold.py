"""Thresholds from a sample: the zeros that were asked for, in order, and nothing else changed."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sparsefield as sf
from sparsefield.errors import InvalidInput
from sparsefield.nn import FATReLU, fatrelu, threshold_


def mlp(*activations, width=40):
    torch.manual_seed(0)
    layers = [nn.Linear(8, width)]
    for phi in activations:
        layers += [phi, nn.Linear(width, width)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.7])
def test_fatrelu_keeps_what_exceeds_the_threshold(tau):
    x = torch.tensor(
        [-2.0, 0.0, 0.3, 0.30000004, 1.7, 5.0, torch.inf, torch.nan], requires_grad=True
    )
    y = fatrelu(x, torch.tensor(tau).item())
    wanted = torch.where(x.detach() <= torch.tensor(tau), 0.0, x.detach())
    torch.testing.assert_close(y, wanted, rtol=0, atol=0, equal_nan=True)
    y.backward(torch.ones_like(y))
    assert torch.equal(x.grad, (wanted != 0).float())  # as ReLU's, whose gradient a NaN passes


def test_at_zero_it_is_relu():
    x = torch.randn(100)
    assert torch.equal(FATReLU(0.0)(x), torch.relu(x))


def test_a_threshold_below_zero_is_refused():
    with pytest.raises(InvalidInput, match="give 0 or more"):
        FATReLU(-0.1)


def test_the_threshold_travels_in_the_state_dict():
    model = nn.Sequential(nn.Linear(2, 3), FATReLU(0.0))
    model.load_state_dict(nn.Sequential(nn.Linear(2, 3), FATReLU(0.7)).state_dict())
    assert model[1].tau == 0.7


@settings(max_examples=20, deadline=None)
@given(zeros=st.floats(0.05, 0.99), batch=st.integers(3, 200), width=st.integers(5, 60))
def test_each_layer_has_the_zeros_that_were_asked_for(zeros, batch, width):
    model, sample = mlp(nn.ReLU(), nn.ReLU(), nn.ReLU(), width=width), torch.randn(batch, 8)
    table = threshold_(model, sample, zeros=zeros)
    assert [row.name for row in table.rows] == ["1", "3", "5"]
    h = sample
    for index, layer in enumerate(model):
        if not isinstance(layer, FATReLU):
            h = layer(h)
            continue
        row = table.rows[index // 2]
        assert row.zeros == (h <= row.tau).double().mean().item() >= zeros - 1e-9
        least = (h < row.tau).double().mean().item()  # what a lower threshold would leave
        assert row.tau == 0.0 or least < zeros
        h = layer(h)


def test_weights_stay_and_what_exceeds_stays():
    model = mlp(nn.ReLU())
    weights = copy.deepcopy([p.detach() for p in model.parameters()])
    sample = torch.randn(64, 8)
    h = model[0](sample)
    table = threshold_(model, sample, zeros=0.8)
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    kept = model[1](h)
    tau = table.rows[0].tau
    assert torch.equal(kept, torch.where(h > tau, h, 0.0))


def test_order_is_that_of_execution_not_of_registration():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.second, self.first = nn.ReLU(), nn.ReLU()
            self.a, self.b = nn.Linear(8, 50), nn.Linear(50, 50)

        def forward(self, x):
            return self.second(self.b(self.first(self.a(x))))

    torch.manual_seed(0)
    model, sample = Backwards(), torch.randn(100, 8)
    table = threshold_(model, sample, zeros=0.9)
    assert [row.name for row in table.rows] == ["first", "second"]
    assert all(abs(row.zeros - 0.9) < 1e-3 for row in table.rows)


def test_gelu_and_relu_of_a_cnn_with_norms_in_evaluation_mode():
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.GELU()),
        *(nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True)),
    )
    sample = torch.randn(16, 3, 9, 7)
    model(sample)
    running = copy.deepcopy(model[1].running_mean)
    table = threshold_(model, sample, zeros=0.75)
    assert model.training
    assert torch.equal(model[1].running_mean, running)
    assert [row.was for row in table.rows] == ["GELU", "ReLU"]
    assert all(abs(row.zeros - 0.75) < 1e-2 for row in table.rows)
    assert "tau" in str(table)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 50), nn.Linear(50, 60)

    def forward(self, x):
        return torch.relu(self.b(nn.functional.gelu(self.a(x))))


def test_calls_of_functions_are_replaced_where_the_graph_shows_them():
    torch.manual_seed(0)
    model = Functional()
    table = threshold_(model, torch.randn(100, 8), zeros=0.8)
    assert [row.was for row in table.rows] == ["gelu", "relu"]
    assert all(abs(row.zeros - 0.8) < 1e-3 for row in table.rows)
    assert isinstance(model, Functional)
    assert all(part.training for part in model.modules())


def test_a_call_that_no_graph_shows_is_refused_and_nothing_is_changed():
    class Branching(Functional):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x

    model = Branching()
    with pytest.raises(InvalidInput, match="cannot be replaced"):
        threshold_(model, torch.ones(9, 8), zeros=0.8)
    assert [name for name, _ in model.named_modules()] == ["", "a", "b"]


def test_what_is_ignored_stays():
    model = mlp(nn.ReLU(), nn.ReLU())
    threshold_(model, torch.randn(9, 8), zeros=0.9, ignore=["1"])
    assert type(model[1]) is nn.ReLU
    assert type(model[3]) is FATReLU


@pytest.mark.parametrize(
    ("zeros", "ignore", "message"),
    [
        (1.0, (), "a share in"),
        (0.9, ["nowhere"], "has no sub-module of that name"),
        (0.9, ["1"], "meets no ReLU, GELU"),
    ],
)
def test_refusals(zeros, ignore, message):
    with pytest.raises(InvalidInput, match=message):
        threshold_(mlp(nn.ReLU()), torch.randn(9, 8), zeros=zeros, ignore=ignore)


def test_raised_again_it_goes_on_from_where_it_is():
    model, sample = mlp(nn.ReLU(), nn.ReLU()), torch.randn(200, 8)
    threshold_(model, sample, zeros=0.7)
    once = model[1]
    table = threshold_(model, sample, zeros=0.9)
    assert once is model[1]
    assert all(abs(row.zeros - 0.9) < 1e-3 for row in table.rows)


def test_it_trains_on_and_accelerates():
    model, sample = mlp(nn.ReLU(), nn.ReLU(), width=64), torch.randn(256, 8)
    threshold_(model, sample, zeros=0.9)
    torch.testing.assert_close(
        sf.accelerate(model, sample)(sample), model(sample), rtol=1e-4, atol=1e-5
    )
    fast = sf.accelerate(model, sample, train=True)
    fast(sample).square().mean().backward()
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model(sample).square().mean().backward()
    for one, p in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(one, p.grad, rtol=1e-4, atol=1e-6)
