"""ledger(): the three columns side by side, as text and as JSON."""

import json

import pytest
import torch
from torch import nn

import sparsefield as sf
from sparsefield.energy import NoMeter, Reading, group_activations, group_layers, ledger
from sparsefield.energy.text import scaled
from sparsefield.errors import InvalidInput

POINT = sf.solve("crelu", sparsity=0.9, q=4.0, clip=1.1)


def network(depth=3, width=120, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return sf.DNN(16, width, depth, 4, POINT, generator=generator)


@pytest.fixture
def data():
    return torch.randn(12, 16, generator=torch.Generator().manual_seed(9))


class Steady:
    """A counter that stands still, so that nothing is above idle."""

    absent = None

    def begin(self):
        pass

    def end(self):
        return Reading(1.0, {"meter": 10.0})


def test_json_holds_the_three_columns(data):
    book = ledger(network(), data, batch=4, measured=True, meter=NoMeter("none here"))
    answer = json.loads(json.dumps(book.to_dict(), allow_nan=False))
    assert list(answer) == ["counted", "modelled", "measured", "training"]
    layers = answer["counted"]["layers"]
    assert [layer["name"] for layer in layers] == ["layers.0", "layers.1", "layers.2", "head"]
    assert set(layers[1]["bytes_per_inference"]["sparse"]) == set(vars(book.sparse_traffic[0]))
    assert answer["modelled"]["table"]["source"].startswith("M. Horowitz")
    assert answer["modelled"]["table"]["levels"][-1]["capacity_bytes"] is None
    (measured,) = answer["measured"]
    assert measured["absent"] == "not measurable on this machine: none here"
    assert measured["seconds_per_inference"] is None


def test_text_keeps_the_columns_apart(data):
    text = str(ledger(network(), data, measured=True, meter=NoMeter("none here")))
    counted, rest = text.split("MODELLED")
    modelled, measured = rest.split("MEASURED")
    assert "activation sparsity" in counted
    assert " J" not in counted
    assert "a model and no measurement" in modelled
    assert "left out" in modelled
    assert "not measurable on this machine: none here" in measured
    assert max(map(len, text.splitlines())) < 130


def test_nothing_is_measured_unless_asked_for(data):
    assert "not asked for" in str(ledger(network(), data))


def test_a_runner_is_measured_beside_the_model(data):
    seen = []

    def runner(x):
        seen.append(x.shape)

    book = ledger(
        network(),
        data,
        batch=4,
        measured=True,
        runner=runner,
        meter=Steady(),
        window_seconds=0.002,
        repeats=2,
    )
    assert [each.what for each in book.measured] == ["model", "runner"]
    assert set(seen) == {(4, 16)}
    assert "not told apart from the idle machine" in " ".join(str(book).split())


def test_measuring_leaves_the_mode(data):
    model = network().train()
    ledger(model, data, measured=True, meter=Steady(), window_seconds=0.002, repeats=2)
    assert model.training


def test_a_deep_network_fits_a_page(data):
    book = ledger(network(depth=60, width=20), data)
    lines = str(book).splitlines()
    assert len(lines) < 110
    assert any(line.startswith("layers.1 to ") for line in lines)


def test_a_model_without_activation_modules(data):
    text = str(ledger(nn.Sequential(nn.Linear(16, 4), nn.LayerNorm(4)), data))
    assert "no activation modules" in text
    assert "in no column         1 (LayerNorm)" in text


def test_dead_units_are_in_the_table(data):
    model = network()
    with torch.no_grad():
        model.layers[1].weight[:7] = 0.0
        model.layers[1].bias[:7] = 0.0
    (row,) = [x for x in str(ledger(model, data)).splitlines() if x.startswith("activations.1 ")]
    dead = ledger(model, data).counted.activations[1].dead_units
    assert set(range(7)) <= set(dead)
    assert f"{len(dead)} of 120" in row


@pytest.mark.parametrize("depth", [1, 2, 11, 12, 13, 60, 100])
@pytest.mark.parametrize("most", [4, 12])
def test_groups_hold_every_layer_once_and_never_join_shapes(data, depth, most):
    counted = ledger(network(depth=depth, width=10), data).counted
    for members, groups in (
        (counted.layers, group_layers(counted.layers, most)),
        (counted.activations, group_activations(counted.activations, most)),
    ):
        assert [m for group in groups for m in members[group.span]] == list(members)
        assert len(groups) <= max(most, 3)
    for group in group_layers(counted.layers, most):
        assert len({layer.weight_shape for layer in counted.layers[group.span]}) == 1
        assert group.label.startswith(counted.layers[group.start].name)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(999.96, "B", "1 kB"), (999.4, "B", "999 B"), (-2e-6, "J", "-2 uJ"), (1e-15, "J", "0.001 pJ")],
)
def test_numbers_with_a_prefix(value, unit, text):
    assert scaled(value, unit) == text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"batch": 13}, "batch 13"),
        ({"storage": "int4"}, "'int4'"),
        ({"arithmetic": "int4"}, "'int4'"),
        ({"table": "tdp"}, "'tdp'"),
        ({"measured": True, "meter": Steady(), "repeats": 1}, "repeats 1"),
    ],
)
def test_bad_input(data, changes, says):
    with pytest.raises(InvalidInput, match=says):
        ledger(network(), data, **changes)


def test_the_room_is_public():
    assert sf.energy.ledger is ledger
