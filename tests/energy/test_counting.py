"""count(): what it adds up over a model, and that it leaves the model as it was."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from energy.every_product import layer_products
from sparsefield import CNN, DNN, solve
from sparsefield.energy import count
from sparsefield.errors import InvalidInput

POINT = solve("crelu", sparsity=0.8, q=4.0, clip=1.1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def dnn(**changes):
    return DNN(**{"inputs": 6, "width": 9, "depth": 3, "classes": 4, "point": POINT, **changes})


@pytest.fixture
def data():
    return torch.randn(10, 6, generator=seeded())


PLAIN = nn.Module._call_impl, nn.Module.__call__


def watched():
    return (nn.Module._call_impl, nn.Module.__call__) != PLAIN


def test_a_network_layer_by_layer_against_every_product(data):
    model = dnn(generator=seeded(1))
    with torch.no_grad():
        model.layers[1].weight[:, ::2] = 0.0
    counted = count(model, data, batch=4)
    h = model.layers[0](data)
    inputs = [data, *(torch.empty(0) for _ in range(3))]
    for index, phi in enumerate(model.activations):
        inputs[index + 1] = phi(h)
        h = (*model.layers, model.head)[index + 1](inputs[index + 1])
    for layer, x, module in zip(counted.layers, inputs, (*model.layers, model.head), strict=True):
        products = layer_products(module, x.detach())
        assert layer.dense_macs == len(products)
        assert layer.active_products == sum(v != 0 for v, _, _ in products)
        assert layer.effective_macs == sum(v != 0 and w != 0 for v, w, _ in products)
        assert layer.active_inputs == int(x.count_nonzero())
        assert layer.inputs == x.numel()
        assert layer.lists == 10
    zeros = [x.numel() - int(x.count_nonzero()) for x in inputs[1:]]
    assert [a.zeros for a in counted.activations] == zeros
    assert counted.activation_sparsity == sum(zeros) / (10 * 27)
    assert counted.effective_macs * 10 == sum(layer.effective_macs for layer in counted.layers)
    assert counted.layers[1].effective_macs < counted.layers[1].active_products


def test_the_batch_changes_the_touched_rows_and_nothing_else(data):
    model = dnn(generator=seeded(1))
    one, all_ = count(model, data, batch=1), count(model, data, batch=10)
    for single, whole in zip(one.layers, all_.layers, strict=True):
        assert single.effective_macs == whole.effective_macs
        assert single.active_inputs == whole.active_inputs
        assert whole.rows_touched <= whole.rows
        # alone, a sample touches the rows of its active inputs
        assert single.rows_touched == single.active_inputs
    assert one.activation_sparsity == all_.activation_sparsity
    assert all_.layers[1].rows_touched < one.layers[1].rows_touched  # a union is less than a sum


def test_rows_touched_are_the_union_over_each_batch():
    model = nn.Sequential(nn.Linear(4, 3))
    x = torch.tensor([[2.0, 0, 0, 0], [0, 3, 0, 0], [5, 0, 0, 0], [0, 0, 0, 0], [0, 7, 7, 0]])
    assert [count(model, x, batch=b).layers[0].rows_touched for b in (1, 2, 4, 5)] == [5, 5, 4, 3]


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(data, training):
    model = dnn().train(training)
    model.head.train(not training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count(model, data, batch=3)
    assert model.training is training
    assert model.head.training is not training
    assert not watched()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_hooks_are_gone_after_an_error(data):
    model = dnn()
    with pytest.raises(RuntimeError):
        count(model, data[:, :5], batch=2)
    assert not watched()
    assert model.training


def test_it_counts_in_eval_mode(data):
    model = nn.Sequential(nn.Linear(6, 50), nn.ReLU(), nn.Dropout(0.9), nn.Linear(50, 2))
    counted = count(model, data)
    relu = counted.activations[0]
    assert counted.layers[1].active_inputs == relu.values - relu.zeros


def test_dead_units_are_listed_apart(data):
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        model[0].weight[[1, 3]] = 0.0
        model[0].bias[[1, 3]] = -1.0
    (relu,) = count(model, data).activations
    y = torch.relu(model[0](data)).detach()
    assert relu.dead_units == (1, 3)
    assert relu.sparsity == int((y == 0).sum()) / 50  # NeuroBench's, dead units and all
    assert relu.sparsity_alive == pytest.approx(int((y[:, [0, 2, 4]] == 0).sum()) / 30)
    assert relu.sparsity_alive < relu.sparsity


def test_a_unit_of_a_network_that_is_dead_altogether():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    counted = count(model, torch.randn(4, 6, generator=seeded()))
    assert counted.dead_units == counted.units == 5
    assert counted.activations[0].sparsity_alive is None
    assert counted.layers[1].active_products == 0
    assert counted.layers[1].rows_touched == 0


def test_channels_are_the_units_of_images_and_pixels_have_lists():
    model = CNN(2, 5, 2, 3, POINT, pool=2, generator=seeded())
    counted = count(model, torch.randn(4, 2, 6, 6, generator=seeded()), batch=2)
    assert [a.units for a in counted.activations] == [5, 5]
    assert [layer.lists for layer in counted.layers] == [4 * 36, 4 * 36, 4]
    assert counted.layers[1].rows == 5 * 9
    assert counted.layers[1].row_width == 5


def test_saturated_values_are_those_at_the_clip(data):
    model = dnn(depth=1, width=90, generator=seeded(3))
    counted = count(model, data)
    y = model.activations[0](model.layers[0](data))
    assert counted.activations[0].saturated == int((y == y.max()).sum()) > 1
    assert count(nn.Sequential(nn.Linear(6, 2), nn.ReLU()), data).activations[0].saturated is None


def test_a_shared_activation_stands_at_several_places(data):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.narrow = nn.Linear(6, 8), nn.Linear(8, 3)
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(self.narrow(self.relu(self.wide(x))))

    counted = count(Shared(), data, batch=5)
    assert [(a.name, a.units) for a in counted.activations] == [("relu", 8), ("relu#2", 3)]
    assert [a.values for a in counted.activations] == [80, 30]


def test_a_layer_that_is_called_twice_is_one_layer(data):
    layer = nn.Linear(6, 6)
    counted = count(nn.Sequential(layer, nn.ReLU(), layer), data, batch=5)
    (only,) = counted.layers
    assert only.calls == 4
    assert only.dense_macs == 2 * 10 * 36


def test_inputs_are_seen_before_anything_overwrites_them(data):
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.next = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            h = F.relu(self.layer(x))
            y = self.next(h)
            h += 1.0  # what NeuroBench would count
            return y

    model = InPlace()
    active = int(torch.relu(model.layer(data)).count_nonzero())
    assert count(model, data).layers[1].active_inputs == active < 60


def test_what_is_in_no_column_is_named(data):
    model = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Bilinear(6, 6, 2))
    model.forward = lambda x: model[1](model[0](x))
    assert count(model, data).uncounted == ("1 (LayerNorm)", "2 (Bilinear)")
    assert count(dnn(), data).uncounted == ()


def test_what_is_expected_and_not_called_is_named(data):
    class ByHand(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.relu = nn.Linear(6, 5), nn.Linear(5, 2), nn.ReLU()

        def forward(self, x):
            return F.linear(F.relu(self.a(x)), self.b.weight, self.b.bias)

    counted = count(ByHand(), data)
    assert counted.uncounted == ("relu (not called)", "ByHand (the function relu)")
    assert [layer.name for layer in counted.layers] == ["a", "b"]  # its weight is used
    ByHand.forward = lambda self, x: self.relu(self.a(x))
    assert count(ByHand(), data).uncounted == ("b (not called)",)
    ByHand.forward = lambda self, x: self.b(self.relu(self.a(x)))  # the twin
    assert count(ByHand(), data).uncounted == ()


def test_units_of_tokens_are_those_of_the_same_rows(data):
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    with torch.no_grad():
        model[0].bias[:7] = -1e3
    rows = count(model, data, batch=10).activations[0]
    tokens = count(model, data.unflatten(0, (2, 5)), batch=2).activations[0]
    assert tokens == rows
    assert tokens.units == 16
    assert set(range(7)) <= set(tokens.dead_units)


def test_inputs_by_keyword_and_a_model_that_is_one_layer(data):
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 2)

        def forward(self, x):
            return self.layer(input=x)

    assert count(Keyword(), data).dense_macs == count(nn.Linear(6, 2), data).dense_macs == 12


def test_further_activation_types(data):
    model = nn.Sequential(nn.Linear(6, 5), nn.Hardshrink(), nn.Linear(5, 2))
    assert count(model, data).activation_sparsity is None
    assert count(model, data, activations=[nn.Hardshrink]).activation_sparsity > 0.0


def test_a_skip_carries_its_stream_past_each_hidden_layer(data):
    assert [x.carried for x in count(dnn(skip=0.5), data).layers] == [0, 90, 90, 0]
    assert [x.carried for x in count(dnn(), data).layers] == [0, 0, 0, 0]
    images = torch.randn(2, 1, 8, 8)
    strided = CNN(1, 3, 3, 4, POINT, skip=0.5, strides=(1,))
    assert [x.carried for x in count(strided, images).layers] == [0, 0, 2 * 3 * 16, 0]


BAD = {
    "no samples": (nn.Linear(6, 2), torch.empty(0, 6), 1, "at least one sample"),
    "one value": (nn.Linear(6, 2), torch.ones(6), 1, "samples x values"),
    "batch 0": (nn.Linear(6, 2), torch.ones(4, 6), 0, "batch 0"),
    "large batch": (nn.Linear(6, 2), torch.ones(4, 6), 5, "the 4 samples given"),
    "no layers": (nn.ReLU(), torch.ones(4, 6), 1, "nothing to count"),
}


@pytest.mark.parametrize(("model", "data", "batch", "says"), BAD.values(), ids=BAD)
def test_bad_input(model, data, batch, says):
    with pytest.raises(InvalidInput, match=says):
        count(model, data, batch=batch)
