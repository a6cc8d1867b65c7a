"""Units that are constant on the data leave for good, and nothing else changes."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparsefield import CNN, DNN, CReLU, accelerate, drop_dead_, solve
from sparsefield.errors import InvalidInput
from sparsefield.nn import drop_dead as module

POINT = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mlp(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(5, 12), CReLU(0.2, 0.5), nn.Dropout(0.5), nn.Linear(12, 9), nn.ReLU()]
    return nn.Sequential(nn.Sequential(*layers), nn.Identity(), nn.Linear(9, 3)).eval()


def shifted(layer, *, dead=(), clipped=()):
    """Biases that keep some units below every threshold, and some above every clip."""
    with torch.no_grad():
        layer.bias[list(dead)] = -100.0
        layer.bias[list(clipped)] = 100.0


def networks():
    """Name -> a network, inputs, and how close float32 keeps its outputs."""
    generator = torch.Generator().manual_seed(0)
    plain = DNN(5, 40, 6, 3, POINT, generator=generator)
    cnn = CNN(2, 12, 3, 4, POINT, pool=2, strides=(1,), generator=generator)
    shifted(cnn.layers[0], dead=[2], clipped=[5])
    torch.manual_seed(0)
    images = nn.Sequential(
        *(nn.Conv2d(2, 8, 3, padding=1), CReLU(0.0, 0.3), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        nn.Linear(24, 3),
    )
    shifted(images[0], dead=[1, 5], clipped=[2])
    shifted(images[3], dead=[0], clipped=())
    chain = mlp()
    shifted(chain[0][0], dead=[0, 3], clipped=[4, 11])
    shifted(chain[0][3], dead=[8])
    return {
        "chain": (chain, drawn(200, 5)),
        "dnn": (plain, 0.1 * drawn(200, 5) + 1.0),
        "cnn": (cnn, drawn(60, 2, 8, 8)),
        "images": (images, drawn(60, 2, 10, 10)),
    }


@pytest.mark.parametrize("name", networks())
def test_on_the_data_nothing_changes_but_rounding(name):
    model, x = networks()[name]
    with torch.no_grad():
        before = model(x)
        table = drop_dead_(model, x, held_out=x)
        after = model(x)
    assert sum(row.units - row.left for row in table.rows) > 0
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert table.decided_otherwise == 0.0
    assert table.difference < 1e-4
    assert table.parameters[1] == sum(p.numel() for p in model.parameters()) < table.parameters[0]


@pytest.mark.parametrize("name", ["chain", "images"])
def test_a_constant_that_is_not_folded_is_missed(name, monkeypatch):
    monkeypatch.setattr(module, "_fold", lambda reader, constant: None)
    model, x = networks()[name]
    if name == "images":  # circular images, whose clipped channels go
        model[3].padding = (0, 0)
        model[0].padding_mode = "circular"
    assert drop_dead_(model, x, held_out=x).difference > 0.01


def test_what_goes_is_counted_by_layer():
    model, x = networks()["chain"]
    table = drop_dead_(model, x)
    first = table.rows[0]
    assert (first.name, first.units, first.dead, first.at_clip, first.left) == ("0.0", 12, 2, 2, 8)
    assert model[0][0].weight.shape == (8, 5)
    assert (model[0][0].out_features, model[0][3].in_features) == (8, 8)
    assert table.rows[1].dead >= 1
    lines = str(table).splitlines()
    assert lines[0].split() == ["layer", "units", "dead", "at", "clip", "left"]
    assert lines[1].split() == ["0.0", "12", "2", "2", "8"]
    assert any(line.startswith("decided otherwise") for line in lines)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 20), st.floats(-2.0, 2.0))
def test_any_chain(seed, depth, width, shift):
    torch.manual_seed(seed)
    layers = []
    for fan_in in [3] + [width] * (depth - 1):
        layers += [nn.Linear(fan_in, width), CReLU(shift, 0.6)]
    model, x = nn.Sequential(*layers, nn.Linear(width, 2)), drawn(40, 3, seed=seed)
    with torch.no_grad():
        before = model(x)
        table = drop_dead_(model, x, held_out=x)
        torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
    assert all(1 <= row.left <= row.units for row in table.rows)
    assert all(
        row.units - row.left in (row.dead + row.at_clip, row.units - 1) for row in table.rows
    )


def test_what_it_changes_is_measured_on_samples_without_a_say():
    """One unit that the data never wake decides for a tenth of the others."""
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.copy_(torch.tensor([1.0, -10.0]))
        model[2].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 100.0]]))
        model[2].bias.zero_()
    others = torch.cat([torch.full((90, 1), 1.0), torch.full((10, 1), 11.0)])
    before = model(others).detach()
    table = drop_dead_(model, torch.linspace(0.0, 1.0, 30)[:, None], held_out=others)
    assert table.held_out == 100
    assert table.decided_otherwise == pytest.approx(0.1)
    assert table.difference == pytest.approx(100.0 / before.square().mean().sqrt().item(), rel=1e-5)
    assert "decided otherwise   10.00%" in str(table)


def test_by_default_every_tenth_has_no_say():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.copy_(torch.tensor([1.0, 0.0]))
    x = torch.full((30, 1), -0.5)
    x[::10] = 1.0  # what would wake the second unit
    table = drop_dead_(copy.deepcopy(model), x)
    assert (table.held_out, table.rows[0].dead) == (3, 1)
    assert drop_dead_(model, x, held_out=x).rows[0].dead == 0


def test_a_stream_loses_what_is_constant_after_every_layer():
    model = DNN(5, 30, 4, 3, POINT, skip=0.9, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for layer in model.layers:
            layer.bias[:3] = -300.0  # below every threshold after every layer
        # dead after two layers, and then it wakes
        for layer, bias in zip(model.layers, (-30.0, 60.0, 38.0), strict=False):
            layer.bias[7] = bias
    x = drawn(300, 5)
    before = model(x).detach()
    table = drop_dead_(model, x, held_out=x)
    left = {row.left for row in table.rows}
    assert len(left) == 1
    assert left.pop() <= 27
    gone = table.rows[0].units - table.rows[0].left
    assert all(row.dead + row.at_clip > gone for row in table.rows[:2])  # one stays
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-4)


def test_constants_of_a_stream_are_folded():
    model = DNN(5, 30, 3, 3, POINT, skip=0.5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for layer in model.layers:
            layer.bias[0] = 300.0
    x = drawn(100, 5)
    before = model(x).detach()
    table = drop_dead_(model, x, held_out=x)
    assert all(row.at_clip >= 1 and row.left < 30 for row in table.rows)
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-4)


def test_under_zero_padding_what_is_at_the_clip_stays():
    """At the edge of an image it adds less than inside: no bias can stand in for it."""
    model, x = networks()["images"]
    model[3].padding = (1, 1)
    model[7] = nn.Linear(24, 3)
    row = drop_dead_(model, x).rows[0]
    assert (row.at_clip, row.units - row.left) == (1, row.dead)


def test_without_a_bias_to_fold_into_what_is_at_the_clip_stays():
    model, x = networks()["chain"]
    model[0][3] = nn.Linear(12, 9, bias=False)
    row = drop_dead_(model, x).rows[0]
    assert (row.at_clip, row.units - row.left) == (2, row.dead)


def test_a_layer_that_is_all_dead_keeps_one_unit():
    model, x = networks()["chain"]
    shifted(model[0][0], dead=range(12))
    before = model(x).detach()
    assert drop_dead_(model, x, held_out=x).rows[0].left == 1
    torch.testing.assert_close(model(x), before)


def test_modes_gradients_and_hooks_are_left_as_they_were():
    model, x = networks()["chain"]
    model.train()
    model[0][0].weight.requires_grad_(False)
    drop_dead_(model, x)
    assert all(part.training for part in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 5
    assert not any(part._forward_hooks for part in model.modules())


def test_what_is_left_runs_on_lists():
    model, x = networks()["dnn"]
    drop_dead_(model, x)
    torch.testing.assert_close(accelerate(model, x)(x), model(x).detach(), rtol=1e-4, atol=1e-4)


def twice():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(4, 2))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.phi = nn.ReLU()

    def forward(self, x):
        return self.phi(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            nn.Sequential(
                nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2), nn.GELU()
            ),
            r"^1 \(BatchNorm1d\), 4 \(GELU\): what comes between",
        ),
        (twice(), r"^0, 2: used twice"),
        (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))), r"Parametrized"),
        (Own(), r"^Own: units leave a DNN, a CNN or an nn.Sequential"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU()), r"^Sequential: holds no layer whose"),
    ],
)
def test_what_it_cannot_take_is_refused_and_left(model, message):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InvalidInput, match=message):
        drop_dead_(model, drawn(40, 4))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))  # noqa: B905


@pytest.mark.parametrize(("n", "held_out"), [(0, None), (1, None), (20, 0)])
def test_too_few_samples_are_refused(n, held_out):
    model, _ = networks()["chain"]
    others = None if held_out is None else drawn(held_out, 5)
    with pytest.raises(InvalidInput, match="holds too few samples"):
        drop_dead_(model, drawn(n, 5), held_out=others)


def test_a_value_that_is_no_number_keeps_its_unit():
    model, x = networks()["chain"]
    with torch.no_grad():
        model[0][0].bias[2] = math.nan
    assert drop_dead_(model, x).rows[0].left >= 1
