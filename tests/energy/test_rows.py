"""Counts of products against every product by itself, on tiny random layers."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from energy.every_product import layer_products
from sparsefield.energy.rows import only_signs, row_nonzeros, row_uses, row_width


def sparse(shape, generator, share=0.5):
    """Normal values, some of them exactly zero."""
    x = torch.randn(shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < share, torch.zeros(()), x)


@st.composite
def layers(draw):
    """A tiny layer with some zero weights, and an input for it."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    batch = draw(st.integers(1, 3))
    dims = draw(st.integers(0, 3))
    if dims == 0:
        layer = nn.Linear(draw(st.integers(1, 7)), draw(st.integers(1, 5)))
        shape = (batch, *draw(st.sampled_from([(), (2,)])), layer.in_features)
    else:
        layer, size = draw(convolutions(dims))
        shape = (batch, layer.in_channels, *size)
    with torch.no_grad():
        layer.weight.copy_(sparse(layer.weight.shape, generator, 0.3))
    return layer, sparse(shape, generator, draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])))


@st.composite
def convolutions(draw, dims):
    groups = draw(st.integers(1, 2))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(dims))
    mode = draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
    padding = draw(st.sampled_from([tuple(draw(st.integers(0, 2)) for _ in kernel), "same"]))
    stride = 1 if padding == "same" else tuple(draw(st.integers(1, 2)) for _ in kernel)
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
    layer = kind(
        groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)),
        kernel,
        stride=stride,
        padding=padding,
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        padding_mode=mode,
    )
    # large enough for the kernel, and for a reflection of what "same" may pad
    return layer, tuple(draw(st.integers(5, 6 if dims < 3 else 5)) for _ in kernel)


@settings(deadline=None, max_examples=200)
@given(layers())
def test_counts_are_those_of_every_product_by_itself(case):
    layer, x = case
    products = layer_products(layer, x)
    active = Counter(row for value, _, row in products if value != 0)
    outputs = row_width(layer)
    uses, nonzeros = row_uses(layer, x != 0), row_nonzeros(layer)
    assert {tuple(row): n * outputs for row, n in counts(uses).items()} == active
    assert int(uses.sum()) * outputs == sum(active.values())
    assert int((uses * nonzeros).sum()) == sum(v != 0 and w != 0 for v, w, _ in products)
    dense = row_uses(layer, torch.ones_like(x, dtype=torch.bool))
    assert int(dense.sum()) * outputs == len(products)


def counts(uses):
    return {tuple(place): int(uses[tuple(place)]) for place in uses.nonzero().tolist()}


@pytest.mark.parametrize(
    ("claimed", "real"),
    [
        ({"padding_mode": "zeros"}, {"padding_mode": "circular"}),
        ({"stride": 1}, {"stride": 2}),
        ({"dilation": 1, "padding": 1}, {"dilation": 2, "padding": 2}),
        ({"padding": 0}, {"padding": 1}),
    ],
)
def test_the_comparison_sees_a_wrong_layer(claimed, real):
    """The twin that must fail: the loops of a slightly different layer give other counts."""
    x = sparse((2, 2, 6, 6), torch.Generator().manual_seed(0))
    counted = row_uses(nn.Conv2d(2, 3, 3, **{"padding": 1, **claimed}), x != 0)
    products = layer_products(nn.Conv2d(2, 3, 3, **{"padding": 1, **real}), x)
    assert int(counted.sum()) * 3 != sum(value != 0 for value, _, _ in products)


def test_the_dense_count_is_what_the_layer_computes():
    """Ones in, ones as weights: the sum of the outputs is the number of products."""
    layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, groups=2, bias=False).double()
    nn.init.ones_(layer.weight)
    x = torch.ones(3, 4, 7, 5, dtype=torch.float64)
    assert int(row_uses(layer, x != 0).sum()) * row_width(layer) == int(layer(x).sum())


def test_counts_are_exact_where_float32_is_not():
    size = 4097  # its square is odd, and above 2^24
    uses = row_uses(nn.Linear(size, 1), torch.ones(size, size, dtype=torch.bool))
    assert int(uses.sum()) == size**2
    assert int(torch.full((size,), float(size)).sum()) != size**2


def test_nan_and_infinity_are_not_zero():
    x = torch.tensor([[float("nan"), float("inf"), 0.0, -0.0]])
    assert row_uses(nn.Linear(4, 2), x != 0).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("values", "signs"),
    [([0.0, 1.0, -1.0], True), ([0.0, 0.0], True), ([1.0, 1.5], False), ([float("nan")], False)],
)
def test_inputs_of_signs_only(values, signs):
    assert only_signs(torch.tensor([values])) is signs
