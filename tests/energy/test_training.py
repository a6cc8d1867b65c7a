"""The training column against counts by hand."""

import pytest
import torch
from torch import nn

from sparsefield.energy import count, energy_table, training_column
from sparsefield.errors import InvalidInput

TABLE = energy_table("horowitz-45nm")
IN, HIDDEN, OUT, BATCH = 4, 6, 3, 2


@pytest.fixture
def counted():
    """Two layers; of the hidden units the first sample switches 0 and 1 on, the second 1."""
    model = nn.Sequential(nn.Linear(IN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUT))
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(-1.0)
        model[0].weight[0, 0] = model[0].weight[1, 1] = 2.0
    x = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]])
    return count(model, x, batch=BATCH)


FIRST, SECOND = IN * HIDDEN, HIDDEN * OUT
ACTIVE, ROWS = 3, 2  # inputs of the second layer in both samples, and rows that they need


def test_products(counted):
    column = training_column(counted, TABLE, optimizer="sgd")
    assert column.dense.forward == column.dense.weight_gradient == FIRST + SECOND
    assert column.dense.input_gradient == SECOND
    assert column.lists.forward == FIRST + ACTIVE * OUT / BATCH
    assert column.lists.input_gradient == ACTIVE * OUT / BATCH


@pytest.mark.parametrize(("optimizer", "kept"), [("sgd", 0), ("momentum", 1), ("adam", 2)])
def test_weights_move_as_often_as_they_are_read_and_written(counted, optimizer, kept):
    column = training_column(counted, TABLE, optimizer=optimizer)
    dense = (5 + 2 * kept) * FIRST + (6 + 2 * kept) * SECOND
    assert column.dense.weight_bytes == 4 * dense / BATCH
    assert column.dense.update == (1 + kept) * (FIRST + SECOND) / BATCH
    updated = ROWS * OUT if not kept else SECOND
    lists = (5 + 2 * kept) * FIRST + 2 * ROWS * OUT + 2 * (1 + kept) * updated
    assert column.lists.weight_bytes == 4 * lists / BATCH


def test_activations_and_price(counted):
    column = training_column(counted, TABLE, optimizer="sgd")
    assert column.dense.activation_bytes == 4 * (2 * IN + 4 * HIDDEN)
    assert column.lists.activation_bytes == 8 * IN + (24 * ACTIVE + 8 * BATCH) / BATCH
    for step in (column.dense, column.lists):
        moved = step.weight_bytes + step.activation_bytes
        price = TABLE.multiply_add["float32"].picojoules * step.operations
        assert step.picojoules == pytest.approx(price + moved * 10.0 / 8)  # in the 8 KB cache


def test_an_unknown_optimiser(counted):
    with pytest.raises(InvalidInput, match="optimizer 'lion': choose one of sgd, momentum, adam"):
        training_column(counted, TABLE, optimizer="lion")
