"""The skip around a block of one's own keeps q*, before and after activations."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sparsefield.errors import InvalidInput
from sparsefield.nn import Skip, activation, init_, sparsify_
from sparsefield.theory import solve, winners_point
from sparsefield.theory.sums import post_activation, summed_variances

POINT = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
FALSE_ALARM = 4.5  # standard errors: 7e-6 a test
WIDTH = 300


def generator(seed):
    return torch.Generator().manual_seed(seed)


def filled(seed, scale=1.0):
    layer = nn.Linear(WIDTH, WIDTH)
    layer.weight.data.normal_(0.0, scale * math.sqrt(POINT.sigma_w2 / WIDTH), generator=seed)
    layer.bias.data.normal_(0.0, math.sqrt(POINT.sigma_b2), generator=seed)
    return layer


@torch.no_grad()
def qs(make, blocks=8, networks=60):
    """q before the first and after the last block, [networks, 2], and the zeros at the end."""
    found, zeros = [], []
    for seed in range(networks):
        g = generator(seed)
        h, end = make(g, torch.randn(1, WIDTH, generator=g) * 2.0, blocks)
        found.append([h.square().mean().item(), end.square().mean().item()])
        zeros.append((activation(POINT)(end) == 0).double().mean().item())
    return np.array(found), np.array(zeros)


def pre(skip, scale=1.0):
    def make(g, h, blocks):
        end = h
        for _ in range(blocks):
            end = Skip(nn.Sequential(activation(POINT), filled(g, scale)), skip)(end)
        return h, end

    return make


def z_of(sample, expected):
    return (sample.mean() - expected) / (sample.std(ddof=1) / len(sample) ** 0.5)


@pytest.mark.parametrize("skip", [0.0, 0.5, 0.9])
def test_pre_activation_keeps_q_and_a_wrong_scale_does_not(skip):
    assert abs(z_of(qs(pre(skip))[0][:, 1], 4.0)) < FALSE_ALARM
    assert abs(z_of(qs(pre(skip, scale=1.25), networks=100)[0][:, 1], 4.0)) > FALSE_ALARM


def test_a_plain_sum_grows():
    def make(g, h, blocks):
        end = h
        for _ in range(blocks):
            end = end + filled(g)(activation(POINT)(end))
        return h, end

    found = qs(make)[0][:, 1]
    assert abs(z_of(found, summed_variances(POINT.variance_map(), 4.0, 8)[-1])) < FALSE_ALARM
    assert found.mean() > 20.0


@pytest.mark.parametrize("skip", [0.03, 0.2])
def test_post_activation_follows_the_theory(skip):
    def make(g, h, blocks):
        x = activation(POINT)(h)
        for _ in range(blocks - 1):
            x = Skip(filled(g), skip, point=POINT)(x)
        block = Skip(filled(g), skip, point=POINT)
        return h, block.join(x, block.block(x))

    path = post_activation(POINT.variance_map(), 4.0, skip, blocks=8)
    found, zeros = qs(make)
    assert abs(z_of(found[:, 1], path.q[-1])) < FALSE_ALARM
    assert abs(z_of(zeros, path.zeros[-1])) < FALSE_ALARM
    assert path.zeros[-1] < 0.9
    twin = post_activation(POINT.variance_map(), 4.0, 3.0 * skip, blocks=8)
    assert abs(z_of(zeros, twin.zeros[-1])) > FALSE_ALARM


def test_it_is_a_plain_module():
    block = Skip(nn.Sequential(activation(POINT), nn.Linear(6, 6)), skip=0.7)
    x = torch.randn(3, 6)
    want = math.sqrt(0.7) * x + math.sqrt(0.3) * block.block(x)
    for each in (block, copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        torch.testing.assert_close(each(x), want)
    assert "skip=0.7" in repr(block)
    assert block.skip == 0.7
    assert all(key.startswith("block.") for key in block.state_dict())
    torch.testing.assert_close(torch.export.export(block, (x,)).module()(x), want)


def test_it_takes_top_k():
    block = Skip(nn.Linear(20, 20), skip=0.5, point=winners_point(0.8))
    assert (block(torch.rand(3, 20)) == 0).sum() == 3 * 16


@pytest.mark.parametrize("skip", [-0.1, 1.0, math.nan])
def test_a_share_outside_its_range_is_refused(skip):
    with pytest.raises(InvalidInput, match="share of the variance"):
        Skip(nn.Linear(3, 3), skip)


def test_a_block_that_changes_the_shape_is_refused():
    with pytest.raises(InvalidInput, match=r"made \[2, 4\] of \[2, 3\]"):
        Skip(nn.Linear(3, 4), 0.5)(torch.randn(2, 3))


def residual(blocks=3):
    parts = [nn.Linear(30, 200)]
    parts += [
        Skip(nn.Sequential(activation(POINT), nn.Linear(200, 200)), 0.8) for _ in range(blocks)
    ]
    return nn.Sequential(*parts, activation(POINT), nn.Linear(200, 5))


def test_init_knows_it():
    table = init_(residual(), POINT)
    assert [row.role for row in table.rows] == ["first", "hidden", "hidden", "hidden", "head"]
    assert all(row.q == 4.0 for row in table.rows[:-1])


def test_sparsify_vouches_for_it():
    x = torch.randn(64, 30, generator=generator(0))
    table = sparsify_(residual(), POINT, x, generator=generator(1))
    rows = {row.name: row for row in table.activations}
    assert all(row.promised_zeros == 0.9 for row in rows.values())
    plain = nn.Sequential(*[Plain() if isinstance(part, Skip) else part for part in residual()])
    table = sparsify_(plain, POINT, x, generator=generator(1))
    assert table.activations[-1].promised_zeros is None
    assert "a sum" in table.activations[-1].unvouched


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(activation(POINT), nn.Linear(200, 200))

    def forward(self, x):
        return x + self.block(x)
