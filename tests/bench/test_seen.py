"""What the hooks see: which products read an activation, and how many zeros."""

import pytest
import torch
from torch import nn

from sparsefield.bench.seen import measured_zeros, products, sources
from sparsefield.nn import CReLU


def test_a_dnn_has_one_dense_product(dnn):
    found = products(dnn, torch.randn(3, 7))
    assert [product.name for product in found] == [
        *("layers.0", "layers.1", "layers.2", "layers.3", "head")
    ]
    assert [product.activation is None for product in found] == [True, False, False, False, False]
    assert [product.macs for product in found] == [3 * n for n in (231, 1089, 1089, 1089, 165)]


def test_the_pooled_head_of_a_cnn_does_not_read_an_activation(cnn):
    found = products(cnn, torch.randn(2, 2, 8, 8))
    assert [product.activation is None for product in found] == [True, False, False, True]
    # stride 2 in the second layer: 4 x 4 pixels, 6 channels, 9 taps of 6 channels
    assert found[1].macs == 2 * 16 * 6 * 54


def test_hooks_are_gone_afterwards(dnn):
    products(dnn, torch.randn(3, 7))
    measured_zeros(dnn, [torch.randn(3, 7)])
    assert not any(module._forward_hooks for module in dnn.modules())


def test_a_layer_alone_on_its_source_gives_what_it_gives_inside(dnn):
    x = torch.randn(3, 7)
    inside = {}
    handle = dnn.layers[2].register_forward_hook(lambda m, a, out: inside.update(out=out))
    (seen,) = sources(dnn, [x], "layers.2")
    handle.remove()
    assert seen.alone()(seen.source).equal(inside["out"])
    assert len(seen.alone()) == 2


def test_zeros_and_the_ceiling_by_hand():
    model = nn.Sequential(nn.Linear(2, 4, bias=False), CReLU(0.0, 9.0), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0], [-1, 0], [0, -1], [-1, -1]]))
    zeros = measured_zeros(model, [torch.ones(5, 2)])
    assert zeros.by_activation == {"1": 0.75}
    assert zeros.mean == 0.75
    assert zeros.ceiling == pytest.approx((8 + 12) / (8 + 3))


def test_relu_is_an_activation_here_too():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 40), nn.ReLU(), nn.Linear(40, 3))
    found, zeros = products(model, torch.ones(5, 2)), measured_zeros(model, [torch.ones(5, 2)])
    assert [product.activation for product in found] == [None, model[1]]
    assert zeros.by_activation == {"1": found[1].zeros}
    assert 0.0 < zeros.mean < 1.0


def test_nothing_to_multiply_has_no_ceiling():
    assert measured_zeros(nn.Sequential(nn.Linear(2, 2)), [torch.zeros(1, 2)]).ceiling is None
