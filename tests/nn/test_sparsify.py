"""sparsify_ on models of any class: what it promises, measures and refuses."""

import copy
import math
import pickle
import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from own_models import FIVE, Written, data, equal, generator, state_of
from sparsefield.errors import InvalidInput
from sparsefield.nn import SparsifyTable, init_, sparsify_
from sparsefield.theory import solve

POINT = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)


def made(name):
    torch.manual_seed(0)
    make, sample = FIVE[name]
    return make(), sample()


@pytest.mark.parametrize("name", FIVE)
def test_five_models_in_one_call(name):
    model, x = made(name)
    kind, keys, modes = type(model), set(model.state_dict()), model.training
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    table = sparsify_(model, POINT, x, generator=generator(1))
    assert table.activations
    for row in table.activations:
        assert abs(row.zeros - 0.9) < 0.02 or row.unvouched, str(row)
    assert isinstance(model, kind)
    assert model.training is modes
    assert keys <= set(model.state_dict())
    added = set(model.state_dict()) - keys
    assert all(key.endswith((".tau", ".m")) for key in added)
    assert all(torch.equal(value, dict(model.named_buffers())[n]) for n, value in buffers.items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert not any(isinstance(part, nn.ReLU | nn.GELU) for part in model.modules())


@pytest.mark.parametrize("name", FIVE)
def test_dry_run_tells_the_same_and_changes_nothing(name):
    model, x = made(name)
    before, parts = state_of(model), list(model.modules())
    g = generator(1)
    table = sparsify_(model, POINT, x, generator=g, dry_run=True)
    assert equal(before, state_of(model))
    assert all(a is b for a, b in zip(parts, model.modules(), strict=True))
    assert sparsify_(model, POINT, x, generator=g) == table


@pytest.mark.parametrize("name", FIVE)
def test_copies_and_pickles_give_the_same_and_train(name):
    model, x = made(name)
    sparsify_(model, POINT, x, generator=generator(1))
    model.eval()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(other, FIVE[name][0])
        torch.testing.assert_close(other(x), model(x))
        assert other.state_dict().keys() == model.state_dict().keys()
        other.train()(x).float().square().mean().backward()
        assert any(p.grad is not None and p.grad.any() for p in other.parameters())


def test_three_columns_of_a_chain_are_those_of_theory():
    model = nn.Sequential(
        nn.Linear(50, 800), nn.ReLU(), nn.Linear(800, 700), nn.SiLU(), nn.Linear(700, 9)
    )
    x = 3.0 * data(256, 50)
    table = sparsify_(model, POINT, x, generator=generator())
    assert [row.done for row in table.rows] == [
        "gain from the sample", "for ReLU", "theory", "for SiLU", "head",
    ]  # fmt: skip
    assert table["2"].promised_q == table["3"].promised_q == 4.0
    assert table["3"].promised_zeros == 0.9
    assert table["3"].q == pytest.approx(4.0, rel=0.2)
    assert table["3"].zeros == pytest.approx(0.9, abs=0.02)
    assert table["4"].promised_q == pytest.approx(POINT.second_moment)
    hand = copy.deepcopy(model)
    init_(hand, POINT, input_moment=x.square().mean().item(), generator=generator())
    for name, value in model.state_dict().items():
        if "weight" in name:
            other = hand.state_dict()[name]
            assert value.std().item() == pytest.approx(other.std().item(), rel=0.02)
    biases = (model[2].bias.detach() / math.sqrt(POINT.sigma_b2)).double()
    assert biases.square().mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.special.ndtr(biases).mul(700).floor().unique().numel() == 700  # even strata


def test_a_wrong_promise_would_show():
    """The twin: the same network, its second layer 1.5 times as large."""
    model = nn.Sequential(
        nn.Linear(50, 800), nn.ReLU(), nn.Linear(800, 700), nn.ReLU(), nn.Flatten()
    )
    table = sparsify_(model, POINT, data(256, 50), generator=generator())
    with torch.no_grad():
        model[2].weight *= 1.5
    h = model[:3](data(256, 50))
    assert h.square().mean().item() > 1.3 * table["3"].q


@settings(max_examples=12)
@given(
    widths=st.lists(st.integers(300, 500), min_size=1, max_size=4),
    kinds=st.lists(st.sampled_from([nn.ReLU, nn.GELU, nn.SiLU, nn.ELU]), min_size=4, max_size=4),
    moment=st.floats(0.1, 10.0),
    seed=st.integers(0, 99),
)
def test_random_chains_keep_the_promise_or_give_the_reason(widths, kinds, moment, seed):
    sizes = [20, *widths]
    parts = [
        part
        for a, b, kind in zip(sizes, widths, kinds, strict=False)
        for part in (nn.Linear(a, b), kind())
    ]
    model = nn.Sequential(*parts, nn.Linear(widths[-1], 3))
    x = math.sqrt(moment) * data(128, 20, seed=seed)
    table = sparsify_(model, POINT, x, generator=generator(seed))
    assert len(table.activations) == len(widths)
    for row in table.activations:
        assert row.promised_zeros == 0.9
        assert row.zeros == pytest.approx(0.9, abs=0.06)
        assert abs(row.zeros - 0.9) < 0.02 or "units" in row.unvouched
    assert table[str(2 * len(widths))].done == "head"


class HeadFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.value, self.policy = nn.Linear(64, 1), nn.Linear(64, 3)
        self.body = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())

    def forward(self, x):
        h = self.body(x)
        return self.policy(h), self.value(h)


def test_order_comes_from_running_and_heads_are_heads():
    table = sparsify_(HeadFirst(), POINT, data(64, 8), generator=generator())
    done = {row.name: row.done for row in table.rows}
    assert done["policy"] == done["value"] == "head"
    assert done["body.0"] == "gain from the sample"
    assert [row.name for row in table.rows][:2] == ["body.0", "body.1"]


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.mid, self.out = nn.Linear(20, 400), nn.Linear(400, 400), nn.Linear(400, 3)
        self.act = nn.ReLU()

    def forward(self, x):
        h = self.act(self.up(x))
        return self.out(self.act(self.mid(self.act(self.mid(h)))))


def test_a_layer_called_twice_is_one_layer_and_each_call_is_measured():
    table = sparsify_(Twice(), POINT, data(64, 20), generator=generator())
    assert [row.name for row in table.rows] == ["up", "act", "mid", "act#2", "act#3", "out"]
    assert table["mid"].done == "theory"


class Foreign(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(a, b) / math.sqrt(a))

    def forward(self, x):
        return x @ self.matrix


def refused_model():
    return nn.Sequential(
        Foreign(20, 400), nn.ReLU(),
        nn.utils.parametrizations.weight_norm(nn.Linear(400, 400)), nn.ReLU(),
        nn.Linear(400, 400, bias=False), nn.ReLU(), nn.Linear(400, 3),
    )  # fmt: skip


def test_all_refusals_are_in_one_error_with_one_ignore_to_copy():
    model = refused_model()
    before = state_of(model)
    with pytest.raises(InvalidInput) as caught:
        sparsify_(model, POINT, data(64, 20))
    message = str(caught.value)
    assert "\n" not in message
    assert "ignore=['4', '0', '2']" in message
    assert equal(before, state_of(model))
    table = sparsify_(model, POINT, data(64, 20), ignore=["4", "0", "2"], generator=generator())
    assert all(row.unvouched for row in table.activations)


def test_a_sample_that_does_not_run_changes_nothing():
    model, _ = made("transformer")
    before = state_of(model)
    for sample, says in (
        (data(3, 3, 3), "cannot run it"),
        ((), "holds no tensor"),
        ({}, "no tensor"),
    ):
        with pytest.raises(InvalidInput, match=says):
            sparsify_(model, POINT, sample)
    assert equal(before, state_of(model))


def test_a_failure_halfway_changes_nothing_and_draws_nothing():
    """The second layer reads zeros alone: found when the first is filled already."""
    model = nn.Sequential(nn.Linear(20, 40), Nothing(), nn.Linear(40, 30), nn.ReLU(), Written())
    model[4].up = nn.Linear(30, 400)
    before, g = state_of(model), generator(3)
    state = g.get_state()
    with pytest.raises(InvalidInput, match=r"^2: reads a mean square of 0"):
        sparsify_(model, POINT, data(64, 20), generator=g)
    assert equal(before, state_of(model))
    assert torch.equal(g.get_state(), state)


class Nothing(nn.Module):
    def forward(self, x):
        return 0.0 * x


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
@pytest.mark.parametrize(
    ("make", "arguments", "says"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(4), nn.ReLU()), {}, "0: a lazy layer.*run one batch"),
        (lambda: nn.Sequential(nn.Linear(20, 4, device="meta"), nn.ReLU()), {}, "0: .*meta device"),
        (lambda: nn.Sequential(nn.Linear(20, 4), nn.Tanh()), {}, "no rectifier"),
        (lambda: nn.Linear(20, 4), {}, "no rectifier"),
        (lambda: nn.Sequential(nn.Linear(20, 4), nn.ReLU()), {"ignore": ["9"]}, "ignore '9'"),
        (lambda: nn.Sequential(nn.Linear(20, 4), nn.ReLU()), {"head_gain": -1.0}, "head_gain -1"),
    ],
)
def test_what_it_cannot_do_is_one_clear_error(make, arguments, says):
    with pytest.raises(InvalidInput, match=says):
        sparsify_(make(), POINT, data(8, 20), **arguments)


def test_what_is_compiled_is_refused():
    model = nn.Sequential(nn.Linear(20, 4), nn.ReLU())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(model)
    with pytest.raises(InvalidInput, match="compiled"):
        sparsify_(scripted, POINT, data(8, 20))
    with pytest.raises(InvalidInput, match="compiled"):
        sparsify_(nn.Sequential(torch.compile(model, backend="eager")), POINT, data(8, 20))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtypes_are_kept(dtype):
    model = nn.Sequential(
        nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 3)
    )
    table = sparsify_(model.to(dtype), POINT, data(64, 20).to(dtype), generator=generator())
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert table["3"].zeros == pytest.approx(0.9, abs=0.03)


def test_the_same_seed_gives_the_same_and_the_global_one_is_left_alone():
    tables, weights = [], []
    for _ in range(2):
        torch.manual_seed(0)
        model, x = made("mixer")
        state = torch.get_rng_state()
        tables.append(sparsify_(model, POINT, x, generator=generator(7)))
        assert torch.equal(torch.get_rng_state(), state)
        weights.append(model.head.weight.clone())
    assert tables[0] == tables[1]
    assert torch.equal(*weights)


class Keywords(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.act, self.out = nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 3)

    def forward(self, *, values, scale):
        return {"logits": self.out(input=self.act(self.up(values * scale)))}


def test_samples_are_tensors_tuples_or_keywords():
    table = sparsify_(Keywords(), POINT, {"values": data(64, 20), "scale": torch.ones(1)})
    assert table["act"].zeros == pytest.approx(0.9, abs=0.04)
    table = sparsify_(Written(), POINT, (data(64, 20), 0.5))
    assert len(table.activations) == 2


def test_a_table_prints_three_columns_apart():
    model, x = made("resnet")
    table = sparsify_(model, POINT, x, generator=generator(1))
    assert isinstance(table, SparsifyTable)
    lines = str(table).splitlines()
    assert re.match(
        r"part +is +was +q promised +zeros +q measured +zeros +cannot vouch for", lines[0]
    )
    assert len(lines) == 1 + len(table.rows)
    assert any("90.0%" in line for line in lines)
