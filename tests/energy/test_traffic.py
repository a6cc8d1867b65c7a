"""Bytes touched, by hand and by the inequalities that they must obey."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparsefield import DNN, solve
from sparsefield.energy import Traffic, count, dense_traffic, sparse_traffic, weight_format
from sparsefield.errors import InvalidInput

X = torch.tensor([[2.0, 0, 0, 0], [3, 5, 0, 0]])  # 3 active inputs, 2 rows between them


def traffic(batch, weights):
    (layer,) = count(nn.Linear(4, 10), X, batch=batch).layers
    stored = weight_format(weights)
    return dense_traffic(layer, stored), sparse_traffic(layer, stored)


def test_by_hand_one_sample_at_a_time():
    dense, sparse = traffic(1, "float32")
    # 160 B of weights and 40 B of biases; 4 inputs written and read
    assert dense == Traffic(200.0, 160.0, 32.0, 0.0)
    # 1.5 rows of 40 B a sample, the biases; 1.5 values; 1.5 indices and a length, written and read
    assert sparse == Traffic(60.0 + 40.0, 60.0, 12.0, 20.0)


def test_by_hand_both_samples_at_once():
    dense, sparse = traffic(2, "float32")
    assert dense == Traffic(100.0, 80.0, 32.0, 0.0)  # both share a load into registers
    assert sparse == Traffic((80.0 + 40.0) / 2, 60.0, 12.0, 20.0)  # the union has two rows


@pytest.mark.parametrize(
    ("weights", "dense_bytes", "sparse_bytes"),
    [("bfloat16", 80 + 40, 30 + 40), ("int8", 40 + 40 + 40, 15 + 40 + 40)],
)
def test_formats_of_the_weights(weights, dense_bytes, sparse_bytes):
    dense, sparse = traffic(1, weights)
    assert dense.weight_memory_bytes == dense_bytes
    assert sparse.weight_memory_bytes == sparse_bytes
    assert dense.activation_bytes == 32.0


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 12),
    skip=st.sampled_from([0.0, 0.9]),
    sparsity=st.floats(0.5, 0.95),
    seed=st.integers(0, 2**31),
)
def test_sparse_never_reads_more_weights_from_memory(batch, skip, sparsity, seed):
    generator = torch.Generator().manual_seed(seed)
    point = solve("crelu", sparsity=sparsity, q=1.0, clip=0.5)
    model = DNN(5, 8, 3, 4, point, skip=skip, generator=generator)
    stored = weight_format("float32")
    for layer in count(model, torch.randn(12, 5, generator=generator), batch=batch).layers:
        dense, sparse = dense_traffic(layer, stored), sparse_traffic(layer, stored)
        assert sparse.weight_memory_bytes <= dense.weight_memory_bytes
        assert sparse.activation_bytes <= dense.activation_bytes
        # what memory gives a batch is at most what passes through the cache, biases aside
        constants = layer.calls * 4 * layer.biases / layer.samples
        assert sparse.weight_memory_bytes - constants <= sparse.weight_cache_bytes + 1e-9


def test_an_unknown_format():
    with pytest.raises(InvalidInput, match="'float8'"):
        weight_format("float8")
