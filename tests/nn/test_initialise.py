"""init_ through real, non-square layers: variances, conventions, errors."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sparsefield.errors import InvalidInput
from sparsefield.nn import CST, CReLU, activation, init_, torch_default_
from sparsefield.theory import solve

POINT = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(*layers):
    """The layers with the point's activation between them."""
    parts = [part for layer in layers for part in (layer, activation(POINT))]
    return nn.Sequential(*parts[:-1])


def output_moment(layer, mean_square, seed, n=400):
    """Mean square of the layer's output, bias taken off, over inputs of the given mean square."""
    shape = [9] * (layer.weight.dim() - 2)
    fan = layer.in_channels if hasattr(layer, "in_channels") else layer.in_features
    x = torch.randn(n, fan, *shape, generator=generator(seed + 1000)) * math.sqrt(mean_square)
    with torch.no_grad():
        h = layer(x)
        if layer.bias is not None:
            h = h - layer.bias.view(1, -1, *[1] * len(shape))
    return h.pow(2).mean().item()


LAYERS = {
    "linear, narrowing": lambda: nn.Linear(400, 130),
    "linear, widening": lambda: nn.Linear(130, 400),
    "conv1d": lambda: nn.Conv1d(40, 70, 5, padding=2, padding_mode="circular"),
    "conv2d": lambda: nn.Conv2d(60, 35, 3, padding=1, padding_mode="circular"),
    "conv2d, grouped": lambda: nn.Conv2d(60, 90, 3, padding=1, groups=3, padding_mode="circular"),
    "conv2d, oblong kernel": lambda: nn.Conv2d(
        30, 50, (1, 5), padding=(0, 2), padding_mode="circular"
    ),
    "conv3d": lambda: nn.Conv3d(14, 25, 3, padding=1, padding_mode="circular"),
}


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal", "delta"])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_hidden_layer_multiplies_the_mean_square_by_sigma_w2(make, weights):
    moments = []
    for seed in range(6):
        layer = make()
        init_(layer, POINT, weights=weights, first=None, head=None, generator=generator(seed))
        moments.append(output_moment(layer, 0.5, seed))
    got = sum(moments) / len(moments)
    assert got == pytest.approx(0.5 * POINT.sigma_w2, rel=0.06)
    assert got != pytest.approx(0.5 * POINT.sigma_w2 * 130 / 400, rel=0.06)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_biases_have_variance_sigma_b2(make):
    biases = []
    for seed in range(40):
        layer = make()
        init_(layer, POINT, first=None, head=None, generator=generator(seed))
        biases.append(layer.bias.detach())
    biases = torch.cat(biases)
    z = (biases.pow(2).mean() / POINT.sigma_b2 - 1) / math.sqrt(2 / len(biases))
    assert abs(z) < 4.5


@pytest.mark.parametrize("moment", [0.1, 1.0, 7.0])
def test_first_layer_reaches_q_star_for_the_datas_moment(moment):
    q = []
    for seed in range(30):
        model = network(nn.Linear(50, 400), nn.Linear(400, 3))
        init_(model, POINT, input_moment=moment, generator=generator(seed))
        x = torch.randn(200, 50, generator=generator(seed + 99)) * math.sqrt(moment)
        q.append(model[0](x).pow(2).mean().item())
    assert sum(q) / len(q) == pytest.approx(POINT.q, rel=0.03)


def test_head_has_its_own_gain_and_no_bias():
    model = network(nn.Linear(50, 300), nn.Linear(300, 2000))
    init_(model, POINT, head_gain=3.0, generator=generator())
    assert model[2].weight.std().item() == pytest.approx(3.0 / math.sqrt(300), rel=0.01)
    assert not model[2].bias.any()


@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_orthogonal_is_orthogonal_on_the_shorter_side(shape):
    layer = nn.Linear(*shape)
    init_(layer, POINT, weights="orthogonal", first=None, head=None, generator=generator())
    w = layer.weight.detach()
    gram = w @ w.t() if w.shape[0] < w.shape[1] else w.t() @ w
    torch.testing.assert_close(gram, gram[0, 0] * torch.eye(len(gram)), atol=1e-4, rtol=1e-4)


def test_delta_leaves_the_centre_tap_alone():
    layer = nn.Conv2d(8, 12, 3)
    init_(layer, POINT, weights="delta", first=None, head=None, generator=generator())
    centre = layer.weight.detach()[:, :, 1, 1].clone()
    assert centre.abs().min() > 0
    assert layer.weight.detach().abs().sum() == pytest.approx(centre.abs().sum().item())


def test_dry_run_prints_the_plan_and_changes_nothing():
    model = network(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 8, 3, groups=2), nn.Linear(8, 10))
    before = [p.clone() for p in model.parameters()]
    table = init_(model, POINT, dry_run=True)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert [row.role for row in table.rows] == ["first", "hidden", "head"]
    assert table.rows[1].fan_in == 8 * 9
    assert "[8, 8, 3, 3]" in str(table)
    done = init_(model, POINT)
    assert done == table


def test_same_seed_same_weights_and_global_generator_untouched():
    state = torch.get_rng_state()
    one, two = network(nn.Linear(9, 7), nn.Linear(7, 3)), network(nn.Linear(9, 7), nn.Linear(7, 3))
    torch.set_rng_state(state)
    init_(one, POINT, generator=generator(5))
    init_(two, POINT, generator=generator(5))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one[2].weight, two[2].weight)


def test_torch_default_has_pytorchs_variance():
    layer = nn.Linear(300, 700)
    torch_default_(layer, generator(1))
    assert layer.weight.var().item() * 300 == pytest.approx(1 / 3, rel=0.02)
    assert layer.bias.abs().max() <= 1 / math.sqrt(300)


def test_ignored_layers_are_left_alone():
    norm = nn.LayerNorm(7)
    model = nn.Sequential(nn.Linear(9, 7), norm, activation(POINT), nn.Linear(7, 3))
    for ignore in (["1"], "1", (name for name in ["1"])):
        assert len(init_(model, POINT, ignore=ignore).rows) == 2
    assert (norm.weight == 1).all()


def test_behind_an_ignored_part_no_q_is_promised():
    model = nn.Sequential(
        *(nn.Linear(9, 7), nn.LayerNorm(7), activation(POINT)),
        *(nn.Linear(7, 7), activation(POINT), nn.Linear(7, 3)),
    )
    assert [row.q for row in init_(model, POINT, ignore=["1"]).rows] == [POINT.q, None, None]


def batchnorm():
    return nn.Sequential(nn.Linear(9, 7), nn.BatchNorm1d(7), activation(POINT), nn.Linear(7, 3))


def pruned():
    layer = prune.l1_unstructured(nn.Linear(7, 7), "weight", 0.5)
    return nn.Sequential(nn.Linear(7, 7), activation(POINT), layer)


def other_activation(kind, **changes):
    constants = {"tau": POINT.tau, "m": POINT.m} | changes
    return lambda: nn.Sequential(nn.Linear(3, 4), kind(**constants))


class Summed(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down, self.phi = nn.Linear(7, 7), nn.Linear(7, 3), activation(POINT)

    def forward(self, x):
        return self.down(self.phi(x + self.up(x)))


class Branching(Summed):
    def forward(self, x):
        return self.down(self.phi(self.up(x) if x.sum() > 0 else x))


class Functional(Summed):
    def forward(self, x):
        return self.down(torch.relu(self.up(x)))


BAD = {
    "pruned": (pruned, {}, "2: init_ does not know how to fill this Linear"),
    "root": (lambda: nn.BatchNorm1d(3), {}, r"ignore=\[''\] \('' is the module itself"),
    "empty": (lambda: nn.Linear(3, 0), {}, "is empty"),
    "other m": (other_activation(CReLU, m=9.0), {}, "not the activation of this point"),
    "other kind": (other_activation(CST), {}, "not the activation of this point"),
    "unknown layer": (
        batchnorm,
        {},
        r"1: init_ does not know how to fill this BatchNorm1d.*ignore=\['1'\]",
    ),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3), {}, "ConvTranspose2d"),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)),
        {},
        "does not know",
    ),
    "lazy": (lambda: nn.LazyLinear(4), {}, "run one batch"),
    "meta": (lambda: nn.Linear(3, 4, device="meta"), {}, "on the meta device"),
    "nothing to do": (nn.Flatten, {}, "no Linear or Conv"),
    "no such ignore": (batchnorm, {"ignore": ["9"]}, "ignore '9'"),
    "no such head": (lambda: nn.Linear(3, 4), {"head": "zz"}, "head 'zz'"),
    "no bias": (lambda: nn.Linear(3, 4, bias=False), {}, "build it with bias=True"),
    "even kernel": (lambda: nn.Conv2d(3, 4, 2), {"weights": "delta"}, "has no centre"),
    "weights": (lambda: nn.Linear(3, 4), {"weights": "he"}, "choose one of"),
    "moment": (lambda: nn.Linear(3, 4), {"input_moment": 0.0}, "input_moment 0.0"),
    "gain": (lambda: nn.Linear(3, 4), {"head_gain": -1.0}, "head_gain -1"),
    "other activation": (
        lambda: nn.Sequential(nn.Linear(3, 4), activation(solve("relu", sparsity=0.9))),
        {},
        "not the activation of this point",
    ),
    "ReLU": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4)),
        {},
        r"1: ReLU\(\) is not the activation of this point.*sparsify_\(model, point, sample\)",
    ),
    "GELU": (lambda: nn.Sequential(nn.Linear(3, 4), nn.GELU()), {}, "1: GELU.* is not the"),
    "tanh": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4)),
        {},
        "2: reads tanh 1, not an activation of the point",
    ),
    "a function": (Functional, {}, "down: reads relu"),
    "none": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Identity(), nn.Linear(4, 4)),
        {},
        "2: reads layer 0, not an activation of the point",
    ),
    "pooling": (
        lambda: network(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)),
        {},
        "reads pooling 2, not",
    ),
    "sum": (Summed, {}, "phi: reads a sum, not a layer"),
    "untraceable": (Branching, {}, "torch.fx cannot trace what reads what .*sparsify_"),
}


@pytest.mark.filterwarnings(
    "ignore:Lazy modules:UserWarning", "ignore:Initializing zero:UserWarning"
)
@pytest.mark.parametrize(("make", "arguments", "says"), BAD.values(), ids=BAD)
def test_what_init_cannot_do_is_one_clear_error(make, arguments, says):
    model = make()
    with pytest.raises(InvalidInput, match=says):
        init_(model, POINT, **arguments)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_a_weight_that_is_computed_before_each_call_is_refused(norm):
    with pytest.raises(InvalidInput, match="does not know how to fill"):
        init_(network(nn.Linear(7, 7), norm(nn.Linear(7, 7))), POINT)


def test_an_ignored_part_may_hold_another_activation():
    model = nn.Sequential(nn.Linear(9, 7), CReLU(9.0, 9.0), nn.Linear(7, 3))
    assert len(init_(model, POINT, ignore="1").rows) == 2


def test_the_heads_row_expects_the_logits_variance():
    model = network(nn.Linear(50, 2000), nn.Linear(2000, 500))
    table = init_(model, POINT, head_gain=2.0, generator=generator(1))
    x = torch.randn(300, 50, generator=generator(2))
    assert model(x).pow(2).mean().item() == pytest.approx(table.rows[-1].q, rel=0.1)


def all_wrong():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.positions = nn.Parameter(torch.zeros(7))
            self.up, self.act, self.down = nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 3)
            self.norms = nn.ModuleList(nn.LayerNorm(9) for _ in range(3))

        def forward(self, x):
            return self.down(self.norms[0](self.act(self.up(x + self.positions))))

    return Model()


def test_all_refusals_are_in_one_error_and_its_ignore_serves():
    model = all_wrong()
    names = ["", "act", "norms.0", "norms.1", "norms.2"]
    with pytest.raises(InvalidInput) as caught:
        init_(model, POINT)
    message = str(caught.value)
    assert f"ignore={names!r}" in message
    assert "\n" not in message
    assert [row.q for row in init_(model, POINT, ignore=names).rows] == [None, None]


class HeadFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.value, self.policy = nn.Linear(64, 1), nn.Linear(64, 3)
        self.body = network(nn.Linear(8, 64), nn.Linear(64, 64), nn.Identity())

    def forward(self, x):
        h = self.body(x)
        return self.policy(h), self.value(h)


def test_roles_come_from_what_reads_what():
    roles = {row.name: row.role for row in init_(HeadFirst(), POINT).rows}
    assert roles == {"value": "head", "policy": "head", "body.0": "first", "body.2": "hidden"}


def test_a_layer_called_twice_is_one_layer():
    layer = nn.Linear(7, 7)
    table = init_(network(nn.Linear(9, 7), layer, layer, nn.Linear(7, 3)), POINT)
    assert [row.role for row in table.rows] == ["first", "hidden", "head"]


def test_what_shares_its_memory_or_is_frozen_is_left_alone_and_said():
    model = network(nn.Linear(7, 7), nn.Linear(7, 7), nn.Linear(7, 7), nn.Linear(7, 7))
    model[2].weight = nn.Parameter(model[0].weight.detach().t())  # another object, the same memory
    model[4].requires_grad_(False)
    model[6].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    table = init_(model, POINT)
    assert [row.name for row in table.rows] == ["0", "6"]
    assert dict(table.left) == {
        "2": "shares its memory with 0", "4": "frozen", "6.bias": "frozen",
    }  # fmt: skip
    assert torch.equal(model[2].weight, model[0].weight.t())
    assert torch.equal(model[4].weight, before["4.weight"])
    assert torch.equal(model[6].bias, before["6.bias"])
    assert not torch.equal(model[6].weight, before["6.weight"])
    assert "4       left as it is: frozen" in str(table)
    assert [row.q for row in table.rows] == [POINT.q, None]


def test_an_ignored_parts_memory_is_never_written():
    model = network(nn.Linear(7, 7), nn.Linear(7, 7), nn.Linear(7, 3))
    model[2].weight = model[0].weight
    before = model[0].weight.clone()
    table = init_(model, POINT, ignore=["0"])
    assert torch.equal(model[2].weight, before)
    assert dict(table.left) == {"2": "shares its memory with 0"}
