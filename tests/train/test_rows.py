"""A network's parameters as a row: the same numbers, and an optimiser's state both ways."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from sparsefield.train.rows import Layout, adopt

OPTIMISERS = {
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


def adopted(model):
    layout = Layout(model)
    row = nn.Parameter(torch.zeros(layout.size))
    row.grad = torch.zeros(layout.size)
    adopt(model, layout, row.data, row.grad)
    return layout, row


def test_places_do_not_overlap_and_begin_at_cache_lines(model):
    layout = Layout(model)
    places = list(layout.places.values())
    assert all(place.start % 16 == 0 for place in places)
    assert all(one.stop <= other.start for one, other in pairwise(places))
    assert places[-1].stop <= layout.size


def test_a_model_in_a_row_computes_as_before_and_follows_the_row(model):
    x = torch.randn(4, 5)
    before = model(x)
    layout, row = adopted(model)
    assert torch.equal(model(x), before)
    with torch.no_grad():
        layout.view(row, "2.bias").add_(1.0)
    assert torch.allclose(model(x), before + 1.0)


def test_gradients_of_a_model_in_a_row_arrive_in_the_row(model):
    x = torch.randn(4, 5)
    expected = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    layout, row = adopted(model)
    model(x).square().sum().backward()
    for name, gradient in zip(layout.places, expected, strict=True):
        assert torch.equal(layout.view(row.grad, name), gradient)


def trained(parameters, gradients_of, kind, steps=3):
    optimizer = OPTIMISERS[kind](parameters, lr=0.01, weight_decay=0.1, fused=True)
    for step in range(steps):
        gradients_of(step)
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_an_optimiser_over_the_row_is_the_one_over_the_parameters(model, kind):
    twin = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    twin.load_state_dict(model.state_dict())
    layout, row = adopted(model)
    drawn = [[torch.randn_like(p) for p in twin.parameters()] for _ in range(3)]

    def into_twin(step):
        for parameter, gradient in zip(twin.parameters(), drawn[step], strict=True):
            parameter.grad = gradient

    def into_row(step):
        for name, gradient in zip(layout.places, drawn[step], strict=True):
            layout.view(row.grad, name).copy_(gradient)

    expected = trained(twin.parameters(), into_twin, kind).state_dict()
    state = trained([row], into_row, kind).state_dict()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-8)
    same_state(layout.split(state), expected)
    assert not row[layout.places["0.bias"].stop : layout.places["2.weight"].start].any()


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_join_undoes_split(model, kind):
    layout, row = adopted(model)

    def gradients(step):
        for name in layout.places:
            layout.view(row.grad, name).fill_(step + 1.0)

    state = trained([row], gradients, kind).state_dict()
    same_state(layout.join(layout.split(state)), state)


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_a_state_before_the_first_step(model, kind):
    layout, row = adopted(model)
    state = OPTIMISERS[kind]([row]).state_dict()
    assert layout.split(state)["state"] == {}
    assert layout.join(layout.split(state)) == state


def same_state(one, other):
    assert one["param_groups"] == other["param_groups"]
    assert one["state"].keys() == other["state"].keys()
    for index, held in other["state"].items():
        assert one["state"][index].keys() == held.keys()
        for name, value in held.items():
            error = (one["state"][index][name] - value).abs().max()
            assert error <= 1e-6 * value.abs().max(), name
