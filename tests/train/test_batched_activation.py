"""Activations with a threshold a member, against the modules that each member has alone."""

import math

import pytest
import torch

from sparsefield.nn import CST, CReLU, ShiftedReLU, SoftThreshold
from sparsefield.train.batched_activation import BatchedActivation

FAMILIES = {
    "crelu": [CReLU(0.3, 0.7), CReLU(-0.2, 1.0 / 3.0), CReLU(1.0, 2.0)],
    "cst": [CST(0.3, 0.7), CST(0.0, 1.0 / 3.0), CST(1.0, 2.0)],
    "relu": [ShiftedReLU(0.3), ShiftedReLU(-0.2), ShiftedReLU(1.0)],
    "st": [SoftThreshold(0.3), SoftThreshold(0.0), SoftThreshold(1.0)],
}
CORNERS = [0.0, math.nan, math.inf, -math.inf, 0.3, -0.3, 1.0, -1.0, 3.0, -3.0, 1e30]


@pytest.fixture
def h():
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(3, 16, 20, generator=generator) * 2.0
    h[:, 0, : len(CORNERS)] = torch.tensor(CORNERS)
    return h


def by_module(activations, h, gradient):
    outputs, gradients = [], []
    for phi, own, received in zip(activations, h, gradient, strict=True):
        x = own.clone().requires_grad_()
        y = phi(x)
        y.backward(received)
        outputs.append(y.detach())
        gradients.append(x.grad)
    return torch.stack(outputs), torch.stack(gradients)


def by_batch(activations, h, gradient):
    phi = BatchedActivation(activations, h)
    y, before, spare = torch.empty_like(h), torch.empty_like(h), torch.empty_like(h)
    phi.forward(h, y)
    phi.backward(gradient, y, before, spare)
    return y, before


def same(one, other):
    return torch.equal(one.nan_to_num(nan=7e7), other.nan_to_num(nan=7e7))


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_are_those_of_the_modules_bit_for_bit(family, h):
    gradient = torch.randn(h.shape, generator=torch.Generator().manual_seed(1))
    expected_y, expected = by_module(FAMILIES[family], h, gradient)
    y, before = by_batch(FAMILIES[family], h, gradient)
    assert same(y, expected_y)
    finite = y.isfinite()  # elsewhere torch's own kernel gives one thing by vector, one by scalar
    assert finite.sum() > 0.95 * y.numel()
    assert torch.equal(before[finite], expected[finite])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_may_be_written_over_the_one_received(family, h):
    gradient = torch.randn(h.shape, generator=torch.Generator().manual_seed(1))
    y, expected = by_batch(FAMILIES[family], h, gradient)
    phi = BatchedActivation(FAMILIES[family], h)
    phi.backward(gradient, y, gradient, torch.empty_like(h))
    assert same(gradient, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_another_members_threshold_is_noticed(family, h):
    swapped = [FAMILIES[family][index] for index in (1, 0, 2)]
    gradient = torch.ones_like(h)
    expected_y, expected = by_module(FAMILIES[family], h, gradient)
    y, before = by_batch(swapped, h, gradient)
    finite = y.isfinite()
    for member, agrees in enumerate((False, False, True)):
        assert same(y[member], expected_y[member]) == agrees
        kept = finite[member]
        assert torch.equal(before[member][kept], expected[member][kept]) == agrees
