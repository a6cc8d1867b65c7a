"""sparsify_ fills layers and norms, and leaves alone what is not to be written."""

import copy
import math

import pytest
import torch
from torch import nn

from own_models import Transformer, data, equal, generator, state_of
from sparsefield.errors import InvalidInput
from sparsefield.nn import sparsify_
from sparsefield.theory import solve

POINT = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)


def conv_norm(norm, **shape):
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1, bias=False, **shape),
        norm,
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 4),
    )


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(64), nn.GroupNorm(8, 64),
                                  nn.InstanceNorm2d(64, affine=True)])  # fmt: skip
def test_a_norm_before_an_activation_gets_its_gain(norm):
    model = conv_norm(norm)
    table = sparsify_(model, POINT, data(32, 3, 16, 16), generator=generator())
    assert torch.all(norm.weight == 2.0)
    assert not norm.bias.any()
    assert table["1"].done == "gamma"
    assert table["2"].promised_q == 4.0
    assert table["2"].q == pytest.approx(4.0, rel=0.01)
    assert table["2"].zeros == pytest.approx(0.9, abs=0.02)
    assert "behind norm 1" in table["2"].unvouched


def frozen(norm):
    norm.requires_grad_(False)
    return norm


class Root(nn.Module):
    """A root-mean-square norm that nobody knows."""

    def __init__(self, units):
        super().__init__()
        self.scale = nn.Parameter(torch.full((units, 1, 1), 1.5))

    def forward(self, x):
        return self.scale * x / x.square().mean(1, keepdim=True).sqrt()


@pytest.mark.parametrize(
    ("norm", "q"),
    [
        (nn.BatchNorm2d(64, affine=False), 1.0),
        (frozen(nn.BatchNorm2d(64)), 1.0),
        (nn.InstanceNorm2d(64), 1.0),
        (Root(64), 2.25),
    ],
)
def test_behind_a_norm_that_cannot_be_set_the_point_is_solved_at_its_q(norm, q):
    model = conv_norm(norm)
    table = sparsify_(model, POINT, data(32, 3, 16, 16), generator=generator())
    assert model[2].tau == pytest.approx(POINT.tau * math.sqrt(q / 4.0), rel=1e-3)
    assert model[2].m == pytest.approx(POINT.m * math.sqrt(q / 4.0), rel=1e-3)
    assert table["2"].promised_q == pytest.approx(q, rel=1e-3)
    assert table["2"].q == pytest.approx(q, rel=0.01)
    assert table["2"].zeros == pytest.approx(0.9, abs=0.02)
    assert table["3"].q == pytest.approx(4.0, rel=0.3)


def test_frozen_parameters_are_left_alone_and_said():
    model = nn.Sequential(
        nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 3)
    )
    model[2].requires_grad_(False)
    model[4].bias.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    table = sparsify_(model, POINT, data(64, 20), generator=generator())
    assert torch.equal(model[2].weight, before["2.weight"])
    assert torch.equal(model[4].bias, before["4.bias"])
    assert not torch.equal(model[4].weight, before["4.weight"])
    assert (table["2"].done, table["2"].unvouched) == ("left", "frozen")
    assert "its bias is left as it is: frozen" in table["4"].unvouched
    assert table["3"].promised_zeros is None


def test_what_feeds_torchs_attention_is_filled():
    """It has projections of its own; what it reads through the stream is none of them."""
    table = sparsify_(Transformer(), POINT, torch.randint(0, 50, (16, 12)), generator=generator())
    assert table["blocks.0.down"].done == table["blocks.1.down"].done == "theory"
    assert table["blocks.0.down"].q == pytest.approx(4.0, rel=0.15)


def test_what_shares_its_memory_is_filled_once_or_left_alone():
    model = Transformer()
    before = model.words.weight.clone()
    table = sparsify_(model, POINT, torch.randint(0, 50, (16, 12)), generator=generator())
    assert torch.equal(model.words.weight, before)
    assert table["head"].unvouched == "shares its memory with words"

    flat = torch.randn(400 * 400)
    tied = nn.Sequential(
        nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 400)
    )
    tied[2].weight = nn.Parameter(flat.view(400, 400))
    tied[4].weight = nn.Parameter(flat.view(400, 400).t())  # another object, the same memory
    table = sparsify_(tied, POINT, data(64, 20), generator=generator())
    assert table["2"].done == "theory"
    assert table["4"].unvouched == "shares its memory with 2"
    assert torch.equal(tied[4].weight, tied[2].weight.t())


def test_an_ignored_parts_memory_is_never_written():
    flat = torch.randn(300 * 400)
    model = nn.Sequential(
        nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 400)
    )
    model[2].weight = nn.Parameter(flat.view(300, 400))
    model[4].weight = nn.Parameter(flat.view(400, 300))
    before = flat.clone()
    table = sparsify_(model, POINT, data(64, 20), ignore=["4"], generator=generator())
    assert torch.equal(flat, before)
    assert table["2"].unvouched == "shares its memory with 4"
    assert any(row.name == "4" and row.unvouched == "ignored" for row in table.rows)


def test_views_of_one_buffer_that_do_not_overlap_are_not_tied():
    flat = torch.zeros(20 * 400 + 400 * 3)
    model = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 3))
    model[0].weight = nn.Parameter(flat[: 20 * 400].view(400, 20))
    model[2].weight = nn.Parameter(flat[20 * 400 :].view(3, 400))
    table = sparsify_(model, POINT, data(64, 20), generator=generator())
    assert (table["0"].done, table["2"].done) == ("gain from the sample", "head")
    assert flat.all()


def test_no_bias_and_no_norm_is_refused_where_q_would_repel():
    model = nn.Sequential(
        nn.Linear(20, 400, bias=False), nn.ReLU(), nn.Linear(400, 400, bias=False), nn.ReLU(),
        nn.Linear(400, 3, bias=False),
    )  # fmt: skip
    before = state_of(model)
    with pytest.raises(InvalidInput, match=r"^2: has no bias.*ignore=\['2'\]"):
        sparsify_(model, POINT, data(64, 20))
    assert equal(before, state_of(model))
    flat = solve("crelu", sparsity=0.7, q=4.0, clip=0.6)  # V' = 0.65 without biases
    table = sparsify_(model, flat, data(64, 20), generator=generator())
    assert table["0"].q == pytest.approx(4.0, rel=0.2)  # it reads the input: all in the weights
    assert table["2"].q == pytest.approx(4.0, rel=0.5)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.lstm = nn.Embedding(30, 20), nn.LSTM(20, 200, batch_first=True)
        self.act, self.up, self.out = nn.ReLU(), nn.Linear(200, 300), nn.Linear(300, 3)

    def forward(self, x):
        y, _ = self.lstm(self.words(x))
        return self.out(self.act(self.up(y[:, -1])))


def test_what_it_does_not_know_is_left_and_named():
    model = Recurrent()
    before = copy.deepcopy(model.state_dict())
    table = sparsify_(model, POINT, torch.randint(0, 30, (64, 5)), generator=generator())
    assert {"words", "lstm"} <= {row.name for row in table.rows if row.done == "left"}
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items() if "lstm" in n)
    assert "reads LSTM lstm" in table["up"].unvouched
    assert table["up"].q == pytest.approx(4.0, rel=0.3)


class Added(nn.Module):
    """Without norms: a sum that an activation reads, one side of it sparse."""

    def __init__(self, width=500):
        super().__init__()
        self.up, self.out = nn.Linear(20, width), nn.Linear(width, 3)
        self.one, self.two = nn.Linear(width, width), nn.Linear(width, width)
        self.act = nn.ReLU()

    def forward(self, x):
        h = self.act(self.up(x))
        h = self.act(self.one(h) + 5.0 * h)
        return self.out(self.act(self.two(h) + h))


def test_the_terms_of_a_sum_give_what_its_fixed_part_leaves():
    table = sparsify_(Added(), POINT, data(64, 20), generator=generator())
    assert table["act#2"].q == pytest.approx(4.0, rel=0.02)
    assert table["act#3"].q == pytest.approx(4.0, rel=0.1)
    assert table["one"].q < 2.0  # 5 h brings the rest
    assert all("a sum" in table[name].unvouched for name in ("act#2", "act#3"))
