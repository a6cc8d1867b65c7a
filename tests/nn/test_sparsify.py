"""sparsify_ on models of any class: what it swaps, fills, measures, leaves alone and refuses."""

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
from torch.nn import functional as F

from own_models import FIVE, Transformer
from sparsefield.errors import InvalidInput
from sparsefield.nn import CReLU, SparsifyTable, TopK, activation, init_, sparsify_
from sparsefield.theory import solve, winners_point

POINT = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def data(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed))


def made(name):
    torch.manual_seed(0)
    make, sample = FIVE[name]
    return make(), sample()


def state_of(model):
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [(name, type(part), part.training) for name, part in model.named_modules()]
    return tensors, modes


def equal(one, other):
    return (
        one[1] == other[1]
        and one[0].keys() == other[0].keys()
        and all(torch.equal(value, other[0][name]) for name, value in one[0].items())
    )


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


class Functional(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.up, self.out, self.call = nn.Linear(20, 400), nn.Linear(400, 3), call

    def forward(self, x):
        return self.out(self.call(self.up(x)))


class Written(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.mid, self.out = nn.Linear(20, 400), nn.Linear(400, 300), nn.Linear(300, 3)

    def forward(self, x, scale=1.0):
        h = F.dropout(torch.relu(self.up(x * scale)), 0.5, self.training)
        return self.out(self.mid(h).relu_())


def test_functional_calls_become_children():
    model = Written()
    x, keys = data(64, 20), set(model.state_dict())
    table = sparsify_(model, POINT, x, generator=generator())
    assert {row.done for row in table.activations} == {"for relu", "for relu_"}
    assert set(model.state_dict()) - keys == {
        f"{child}.{constant}"
        for child in ("activation", "activation_1")
        for constant in ("tau", "m")
    }
    assert type(model).__name__ == "Written"
    model.train()
    torch.manual_seed(0)
    one = model(x)
    assert not torch.equal(one, model(x))  # dropout still looks at self.training
    model.eval()
    assert torch.equal(model(x), model(x))
    assert not torch.equal(model(x), model(x, scale=2.0))


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.out = nn.Linear(20, 400), nn.Linear(400, 3)

    def forward(self, x):
        h = self.up(x)
        F.relu(h, inplace=True)
        return self.out(h)


def test_what_an_in_place_call_wrote_is_read_by_those_after_it():
    model, seen = InPlace(), []
    sparsify_(model, POINT, data(64, 20), generator=generator())
    model.out.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(data(64, 20))
    assert (seen[0] == 0).double().mean() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("call", [F.relu, F.gelu, F.silu, F.mish, F.elu, F.leaky_relu, F.hardswish,
                                  F.relu6, F.softplus, torch.relu])  # fmt: skip
def test_functions_kept_as_attributes_are_swapped(call):
    model = Functional(call)
    table = sparsify_(model, POINT, data(64, 20), generator=generator())
    assert isinstance(model.call, CReLU)
    assert table["call"].zeros == pytest.approx(0.9, abs=0.03)


class Swish(nn.Module):
    """Foreign: known by what it does."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Sigmoid()

    def forward(self, x):
        return x * self.gate(x)


@pytest.mark.parametrize("kind", [nn.ReLU, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.LeakyReLU,
                                  nn.Hardswish, nn.ReLU6, nn.Softplus, nn.SELU, Swish])  # fmt: skip
def test_rectifier_modules_are_swapped_wherever_they_are_held(kind):
    shared = kind()
    model = nn.Sequential(
        nn.Linear(20, 400), shared, nn.Linear(400, 400), shared, nn.Linear(400, 3)
    )
    sparsify_(model, POINT, data(64, 20), generator=generator())
    assert isinstance(model[1], CReLU)
    assert model[1] is model[3]


@pytest.mark.parametrize("kind", [nn.Sigmoid, nn.Tanh, lambda: nn.Softmax(-1)])
def test_gates_are_left_and_named(kind):
    model = nn.Sequential(
        nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 60), kind(), nn.Linear(60, 3)
    )
    table = sparsify_(model, POINT, data(64, 20), generator=generator())
    assert type(model[3]) is type(kind())
    assert any(row.name == "3" and "gate" in row.unvouched for row in table.rows)


def test_another_points_activation_is_swapped_and_top_k_is_one():
    model = nn.Sequential(nn.Linear(20, 400), CReLU(9.0, 9.0), nn.Linear(400, 3))
    sparsify_(model, POINT, data(64, 20), generator=generator())
    assert model[1].tau == POINT.tau
    table = sparsify_(model, winners_point(0.8), data(64, 20), generator=generator())
    assert isinstance(model[1], TopK)
    assert table["1"].zeros == pytest.approx(0.8)


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.out = nn.Linear(20, 400), nn.Linear(400, 3)
        self.act = nn.ReLU()

    def forward(self, x):
        h = self.act(self.up(x))
        if h.sum() > 0:
            h = F.relu(h - 0.1)
        return self.out(h)


def test_a_forward_that_cannot_be_traced_is_said():
    model = Untraceable()
    with torch.no_grad():
        model.up.bias.fill_(9.0)
    table = sparsify_(model, POINT, data(64, 20), generator=generator())
    left = [row for row in table.rows if row.kind == "relu"]
    assert len(left) == 1
    assert "a function call" in left[0].unvouched
    assert type(model) is Untraceable
    assert table["act"].zeros == pytest.approx(0.9, abs=0.03)


class Masked(nn.Module):
    """torch.fx takes the branch that the sample does not."""

    def __init__(self):
        super().__init__()
        self.up, self.out = nn.Linear(20, 400), nn.Linear(400, 3)

    def forward(self, x, mask=None):
        h = F.relu(self.up(x))
        if mask is not None:
            h = h * 2.0
        return self.out(h)


def test_a_traced_forward_that_gives_something_else_is_not_taken():
    model = Masked()
    with pytest.raises(InvalidInput, match="no rectifier"):
        sparsify_(model, POINT, data(64, 20), generator=generator())
    assert type(model) is Masked
    assert "activation" not in dict(model.named_children())


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


def test_torchs_own_encoder_layer_runs_the_new_activation():
    layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True, dropout=0.0)
    model = nn.Sequential(nn.Linear(20, 64), layer, nn.Linear(64, 3))
    table = sparsify_(model, POINT, data(16, 10, 20), generator=generator())
    rows = table.activations
    assert [row.name for row in rows] == ["1.activation"]
    assert rows[0].zeros == pytest.approx(0.9, abs=0.03)
    model.eval()
    seen = []
    layer.activation.register_forward_hook(
        lambda module, args, y: seen.append((y == 0).double().mean())
    )
    with torch.no_grad():
        model(data(16, 10, 20))
    assert seen[0] == pytest.approx(0.9, abs=0.03)


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


def test_it_traces_what_it_swapped():
    model = Written()
    sparsify_(model, POINT, data(64, 20), generator=generator())
    model.eval()
    exported = torch.export.export(model, (data(64, 20),)).module()
    torch.testing.assert_close(exported(data(64, 20)), model(data(64, 20)))
    assert isinstance(activation(POINT), type(model.activation))


def test_a_second_call_finds_nothing_to_swap_and_fills_anew():
    model = Written()
    sparsify_(model, POINT, data(64, 20), generator=generator(1))
    before = copy.deepcopy(model.state_dict())
    table = sparsify_(model, POINT, data(64, 20), generator=generator(1))
    assert {row.done for row in table.activations} == {"kept"}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


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
    assert "reads lstm" in table["up"].unvouched
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


class Discarded(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.act, self.out = nn.Linear(20, 400), nn.ReLU(inplace=True), nn.Linear(400, 3)

    def forward(self, x):
        h = self.up(x)
        self.act(h)
        return self.out(h)


def test_an_activation_whose_output_nothing_reads_is_said():
    table = sparsify_(Discarded(), POINT, data(64, 20), generator=generator())
    assert "nothing was seen to read" in table["act"].unvouched
    table = sparsify_(Written(), POINT, data(64, 20), generator=generator())
    assert not any("nothing was seen" in row.unvouched for row in table.rows)
