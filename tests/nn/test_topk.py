"""Exactly k winners a sample, gradients through them alone, and a module like the others."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparsefield.engine import accelerate
from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN, CReLU, TopK, activation, init_, topk
from sparsefield.theory import solve, winners_point
from sparsefield.theory.winners import winners
from sparsefield.watch import activation_modules


def sample(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@given(st.floats(0.01, 0.99), st.integers(1, 40))
def test_so_many_win_and_keep_their_value(sparsity, units):
    x, k = sample(6, units), winners(sparsity, units)
    y = topk(x, sparsity)
    assert (y != 0).sum(1).tolist() == [k] * 6
    ranked = x.sort(1, descending=True).values
    assert torch.equal(y.sort(1, descending=True).values[y.sort(1, descending=True).values != 0],
                       ranked[:, :k].flatten())  # fmt: skip
    assert torch.equal(y[y != 0], x[y != 0])


def test_the_largest_in_value_win_though_they_be_negative():
    x = torch.tensor([[-1.0, -2.0, -3.0, -9.0], [5.0, -6.0, 1.0, 0.5]])
    assert topk(x, 0.5).tolist() == [[-1.0, -2.0, 0.0, 0.0], [5.0, 0.0, 1.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_equal_values_do_not_add_winners(dtype):
    y = topk(torch.ones(3, 50, dtype=dtype), 0.9)
    assert y.dtype == dtype
    assert (y != 0).sum(1).tolist() == [5, 5, 5]


def test_an_image_has_winners_at_every_position():
    x = sample(2, 10, 3, 4)
    y = TopK(0.7)(x)
    assert (y != 0).sum(1).unique().tolist() == [3]
    flat = topk(x.permute(0, 2, 3, 1).reshape(-1, 10), 0.7)
    assert torch.equal(y.permute(0, 2, 3, 1).reshape(-1, 10), flat)


def growth(phi, point, seed, channels=24, depth=12):
    """Of the variance through circular convolutions, of an image that is half blank."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 1, 12, 12, generator=generator)
    x[..., :6] = 0.0
    layers = nn.ModuleList(
        nn.Conv2d(1 if i == 0 else channels, channels, 3, padding=1, padding_mode="circular")
        for i in range(depth)
    )
    init_(layers, point, head=None, generator=generator)
    with torch.no_grad():
        h = first = layers[0](x)
        for layer in layers[1:]:
            h = layer(phi(h))
    return (h.square().mean() / first.square().mean()).item()


def of_all_positions_together(x):
    """The winners of a whole image, as the paper takes them."""
    return topk(x.flatten(1), 0.9).view_as(x)


def test_winners_at_each_position_keep_the_variance_and_those_of_an_image_do_not():
    apart = [growth(TopK(0.9), winners_point(0.9, width=24), seed) for seed in range(10)]
    together = [growth(of_all_positions_together, winners_point(0.9), seed) for seed in range(10)]
    assert math.log(sum(apart) / 10) == pytest.approx(0.0, abs=0.5)
    assert sum(together) / 10 > 5.0  # 24 x 144 units compete: a wide layer


def test_gradients_pass_to_the_winners_alone():
    x = sample(7, 30).requires_grad_()
    y = topk(x, 0.8)
    weights = sample(7, 30)
    (got,) = torch.autograd.grad((weights * y).sum(), x)
    assert torch.equal(got, torch.where(y != 0, weights, 0.0))
    assert torch.autograd.gradcheck(lambda x: topk(x, 0.8), (x,))
    assert torch.autograd.gradgradcheck(lambda x: topk(x, 0.8) ** 2, (x,))


def test_nan_stays():
    assert topk(torch.tensor([[1.0, math.nan, 0.0, 2.0]]), 0.5).isnan().any()


def test_one_unit_without_its_batch_is_refused():
    with pytest.raises(InvalidInput, match=r"shape \[5\]: .* add the batch axis"):
        topk(torch.ones(5), 0.5)


@pytest.mark.parametrize("sparsity", [0.0, 1.0, -1.0, math.nan])
def test_a_share_outside_its_range_is_refused(sparsity):
    with pytest.raises(InvalidInput, match="a share in"):
        TopK(sparsity)


def test_the_constant_travels():
    act = TopK(0.85)
    for copied in (copy.deepcopy(act), pickle.loads(pickle.dumps(act))):
        assert copied.sparsity == 0.85
    other = TopK(0.5)
    other.load_state_dict(act.state_dict())
    assert other.sparsity == 0.85
    assert repr(other) == "TopK(sparsity=0.85)"
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "sparsity"'):
        act.load_state_dict(CReLU(1.0, 1.0).state_dict())
    with pytest.raises(RuntimeError, match="sparsity 1.5: a share"):
        act.load_state_dict({"sparsity": torch.tensor(1.5)})


def test_export_and_vmap():
    model = DNN(20, 30, 3, 4, winners_point(0.8), skip=0.5)
    x = sample(5, 20, dtype=torch.float32)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))
    one_by_one = torch.func.vmap(lambda row: model(row[None])[0])(x)
    torch.testing.assert_close(one_by_one, model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [DNN, CNN])
def test_networks_are_built_of_it(kind):
    model = kind(3, 20, 2, 4, winners_point(0.9, q=2.0, width=20))
    assert [type(act) for act in activation_modules(model).values()] == [TopK, TopK]
    x = sample(6, 3, 8, 8, dtype=torch.float32)
    seen = []
    model.activations[-1].register_forward_hook(lambda module, args, y: seen.append(y))
    model(x if kind is CNN else x[:, :, 0, 0])
    assert (seen[0] != 0).sum(1).unique().tolist() == [2]
    assert not model.layers[1].bias.any()


def test_init_wants_the_points_own_activation():
    point = winners_point(0.9)
    model = nn.Sequential(nn.Linear(5, 20), TopK(0.9), nn.Linear(20, 7))
    hidden = init_(model, point, head=None).rows[1]
    assert (hidden.weight_variance, hidden.bias_variance) == (point.sigma_w2, 0.0)
    for wrong in (TopK(0.8), activation(solve("crelu", sparsity=0.9, clip=1.0))):
        model[1] = wrong
        with pytest.raises(InvalidInput, match=r"is not the activation of this point \(sparsity"):
            init_(model, point)


@pytest.mark.filterwarnings("ignore")  # it says that layers run as they were
def test_the_engine_runs_it_as_it_is():
    model, x = DNN(20, 30, 3, 4, winners_point(0.8)), sample(5, 20, dtype=torch.float32)
    torch.testing.assert_close(accelerate(model, x)(x), model(x), rtol=1e-4, atol=1e-5)
