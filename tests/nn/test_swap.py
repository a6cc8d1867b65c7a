"""sparsify_ swaps rectifiers: modules, functions kept as attributes, and calls in a forward."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from own_models import Written
from sparsefield.errors import InvalidInput
from sparsefield.nn import CReLU, TopK, activation, sparsify_
from sparsefield.theory import solve, winners_point

POINT = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def data(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed))


class Functional(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.up, self.out, self.call = nn.Linear(20, 400), nn.Linear(400, 3), call

    def forward(self, x):
        return self.out(self.call(self.up(x)))


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


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.mid, self.out = nn.Linear(20, 400), nn.Linear(400, 400), nn.Linear(400, 3)
        self.act, self.hidden = nn.ReLU(), [nn.GELU()]  # torch does not know of the list

    def forward(self, x):
        return self.out(self.hidden[0](self.mid(self.act(self.up(x)))))


def test_a_module_that_is_not_registered_is_said():
    table = sparsify_(Listed(), POINT, data(64, 20), generator=generator())
    left = [row for row in table.rows if row.kind == "gelu"]
    assert len(left) == 1
    assert "installed as a submodule" in left[0].unvouched
    assert "reads gelu" in table["out"].unvouched
