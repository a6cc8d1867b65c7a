"""The modelled column: prices by hand, and what must hold whatever the table."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from sparsefield import DNN, solve
from sparsefield.energy import TABLES, Parts, count, energy_table, model_energy, weight_format
from sparsefield.errors import InvalidInput

X = torch.tensor([[2.0, 0, 0, 0], [3, 5, 0, 0]])
FLOAT32 = weight_format("float32")


def modelled(model, data, table="horowitz-45nm", weights="float32", arithmetic="float32", batch=1):
    counted = count(model, data, batch=batch)
    stored = weight_format(weights)
    return model_energy(counted, energy_table(table), weights=stored, arithmetic=arithmetic)


def deep(width=400, depth=4):
    point = solve("crelu", sparsity=0.9, q=1.0, clip=1.0)
    return DNN(20, width, depth, 5, point, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def data():
    return torch.randn(8, 20, generator=torch.Generator().manual_seed(1))


def test_prices_by_hand():
    """Everything of so small a layer lies in the 8 KB cache: 10 pJ for 8 bytes, loaded once."""
    (layer,) = modelled(nn.Linear(4, 10), X).layers
    dense = Parts(40 * 4.6, 200 * 1.25, 0.0, 32 * 1.25, 0.0)
    sparse = Parts(15 * 4.6, 100 * 1.25, 0.0, 12 * 1.25, 20 * 1.25)
    for mine, by_hand in ((layer.dense, dense), (layer.sparse, sparse)):
        assert vars(mine) == pytest.approx(vars(by_hand))
    assert layer.runs == "sparse"


def test_prices_by_hand_from_dram():
    """1024 x 1024 weights outgrow the caches; a panel of 64 outputs, 256 KB, does not."""
    model, x = nn.Linear(1024, 1024, bias=False), torch.zeros(7, 1024)
    x[:, :10] = 2.0
    (layer,) = modelled(model, x, batch=7).layers
    weights, row = 4 * 1024**2, 4 * 1024
    dram, cache = (1300 + 2600) / 2 / 8, 100 / 8
    assert layer.dense.weights_memory == pytest.approx(dram * weights / 7)
    assert layer.dense.weights_cache == pytest.approx(cache * 2 * weights / 7)  # tiles of 6 and 1
    assert layer.sparse.weights_memory == pytest.approx(dram * 10 * row / 7)  # the same ten rows
    assert layer.sparse.weights_cache == pytest.approx(cache * 10 * row)


@pytest.mark.parametrize(
    ("table", "arithmetic", "picojoules"),
    [
        ("horowitz-45nm", "float32", 4.6),
        ("horowitz-45nm", "bfloat16", 2.0),
        ("horowitz-45nm", "int8", 0.3),
        ("jouppi-7nm", "float32", 1.69),
        ("jouppi-7nm", "bfloat16", 0.59),
        ("jouppi-7nm", "int8", 0.1),
    ],
)
def test_a_multiply_add_by_format(table, arithmetic, picojoules):
    found = modelled(nn.Linear(4, 10), X, table, arithmetic=arithmetic)
    assert found.dense.arithmetic == pytest.approx(40 * picojoules)


def test_what_stands_in_is_said():
    assert "stands in" in energy_table("horowitz-45nm").multiply_add["bfloat16"].reading
    assert "stands in" not in energy_table("jouppi-7nm").multiply_add["bfloat16"].reading


@pytest.mark.parametrize("name", TABLES)
def test_every_table_says_where_it_is_from_and_what_it_leaves_out(name):
    table = energy_table(name)
    assert table.name == name
    assert "20" in table.source
    assert "leakage" in table.leaves_out
    sizes = [level.capacity_bytes for level in table.levels]
    prices = [level.picojoules_per_byte for level in table.levels]
    assert sizes == sorted(sizes)
    assert prices == sorted(prices)
    assert all(mac.picojoules > 0 for mac in table.multiply_add.values())
    assert json.loads(json.dumps(table.to_dict(), allow_nan=False))


@pytest.mark.parametrize(
    ("size_bytes", "name"),
    [(0, "8 KB cache"), (8192, "8 KB cache"), (8193, "32 KB cache"), (2**20 + 1, "DRAM")],
)
def test_the_smallest_level_that_holds_it(size_bytes, name):
    assert energy_table("horowitz-45nm").level_for(size_bytes).name == name


def test_weights_that_outgrow_every_cache_come_from_dram(data):
    large, small = modelled(deep(), data), modelled(deep(width=40), data)
    assert large.weights_home.name == "DRAM"
    assert small.weights_home.name == "32 KB cache"
    low, high = large.dense_range
    assert low < large.dense.total < high
    assert small.dense_range == (small.dense.total, small.dense.total)


def test_a_batch_shares_its_reads_from_memory(data):
    alone, together = modelled(deep(), data), modelled(deep(), data, batch=8)
    assert together.dense.weights_memory == pytest.approx(alone.dense.weights_memory / 8)
    # while the rows of eight samples hardly overlap, and each has its own sums
    assert together.sparse.weights_memory > alone.sparse.weights_memory / 8
    assert together.sparse.arithmetic == pytest.approx(alone.sparse.arithmetic)


def test_smaller_weights_cost_less_to_read_and_the_same_to_multiply(data):
    formats = ("float32", "bfloat16", "int8")
    found = [modelled(deep(width=700), data, weights=name) for name in formats]
    energies = [each.sparse.weights_memory for each in found]
    assert energies == sorted(energies, reverse=True)
    assert len({each.dense.arithmetic for each in found}) == 1


def test_the_network_takes_the_cheaper_way_layer_by_layer(data):
    found = modelled(deep(), data)
    assert [layer.runs for layer in found.layers] == ["dense", *["sparse"] * 4]  # dense data first
    cheapest = sum(min(layer.dense.total, layer.sparse.total) for layer in found.layers)
    assert found.sparse.total == pytest.approx(cheapest)
    assert found.dense.total == pytest.approx(sum(layer.dense.total for layer in found.layers))


def test_a_network_without_zeros_gains_nothing():
    """The twin of every saving: dense inputs and no activation that makes zeros."""
    model = nn.Sequential(nn.Linear(20, 400), nn.Sigmoid(), nn.Linear(400, 400))
    found = modelled(model, torch.randn(4, 20, generator=torch.Generator().manual_seed(0)))
    assert found.sparse == found.dense
    assert all(layer.runs == "dense" for layer in found.layers)


def test_twice_the_price_is_twice_the_energy(data):
    counted = count(deep(), data)
    table = energy_table("jouppi-7nm")
    levels = tuple(
        replace(x, low_picojoules=2 * x.low_picojoules, high_picojoules=2 * x.high_picojoules)
        for x in table.levels
    )
    dear = replace(table, levels=levels)
    one = model_energy(counted, table, weights=FLOAT32, arithmetic="float32")
    two = model_energy(counted, dear, weights=FLOAT32, arithmetic="float32")
    assert two.dense.total - two.dense.arithmetic == pytest.approx(
        2 * (one.dense.total - one.dense.arithmetic)
    )


def test_unknown_names(data):
    with pytest.raises(InvalidInput, match="'guess'"):
        energy_table("guess")
    with pytest.raises(InvalidInput, match="'float64'"):
        modelled(deep(), data, arithmetic="float64")
