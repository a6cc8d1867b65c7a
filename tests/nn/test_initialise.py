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


def batchnorm():
    return nn.Sequential(nn.Linear(9, 7), nn.BatchNorm1d(7), nn.Linear(7, 3))


def shared():
    layer = nn.Linear(7, 7)
    return nn.Sequential(nn.Linear(9, 7), layer, activation(POINT), layer, nn.Linear(7, 3))


def tied():
    model = nn.Sequential(nn.Linear(7, 7), nn.Linear(7, 7))
    model[1].weight = model[0].weight
    return model


def pruned():
    return nn.Sequential(nn.Linear(7, 7), prune.l1_unstructured(nn.Linear(7, 7), "weight", 0.5))


def other_activation(kind, **changes):
    constants = {"tau": POINT.tau, "m": POINT.m} | changes
    return lambda: nn.Sequential(nn.Linear(3, 4), kind(**constants))


BAD = {
    "shared layer": (shared, {}, r"3: shares its parameters with 1.*ignore=\['1', '3'\]"),
    "tied weights": (tied, {}, "1: shares its parameters with 0"),
    "pruned": (pruned, {}, "1: init_ does not know how to fill this Linear"),
    "root": (lambda: nn.BatchNorm1d(3), {}, "initialise it yourself$"),
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
    "nothing to do": (nn.ReLU, {}, "no Linear or Conv"),
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
        init_(nn.Sequential(nn.Linear(7, 7), norm(nn.Linear(7, 7))), POINT)


def test_an_ignored_part_may_hold_another_activation():
    model = nn.Sequential(nn.Linear(9, 7), CReLU(9.0, 9.0), nn.Linear(7, 3))
    assert len(init_(model, POINT, ignore="1").rows) == 2


def test_the_heads_row_expects_the_logits_variance():
    model = network(nn.Linear(50, 2000), nn.Linear(2000, 500))
    table = init_(model, POINT, head_gain=2.0, generator=generator(1))
    x = torch.randn(300, 50, generator=generator(2))
    assert model(x).pow(2).mean().item() == pytest.approx(table.rows[-1].q, rel=0.1)
