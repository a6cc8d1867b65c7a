import math

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sparsefield.errors import InvalidInput
from sparsefield.monitor import Expectation, Monitor
from sparsefield.nn import CST, CReLU, ShiftedReLU, SoftThreshold

TAU, M = 0.4, 0.5
KNOWN = Expectation((1.0,), (0.5,))


def network(activation=None):
    torch.manual_seed(0)
    first, second = nn.Linear(7, 5), nn.Linear(5, 3)
    act = activation or CReLU(TAU, M)
    return nn.Sequential(first, act, second, ShiftedReLU(0.1))


def inputs():
    return torch.randn(11, 7, generator=torch.Generator().manual_seed(1))


PLAIN = nn.Module._call_impl, nn.Module.__call__


def watching():
    return (nn.Module._call_impl, nn.Module.__call__) != PLAIN


def measure(model, x, step=0, **options):
    monitor = Monitor(model, **options)
    with monitor.at(step):
        model(x).square().mean().backward()
    return monitor.rows


def test_values_equal_a_computation_by_hand():
    model, x = network(), inputs()
    rows = measure(model, x)

    h1 = model[0](x).detach().requires_grad_()
    y1 = (h1 - TAU).clamp(0, M)
    h2 = model[2](y1)
    h2.retain_grad()
    (h2 - 0.1).clamp(min=0).square().mean().backward()

    assert [(row["layer"], row["name"]) for row in rows] == [(0, "1"), (1, "3")]
    first, second = rows
    assert first["q"] == pytest.approx(h1.square().mean().item(), rel=1e-6)
    assert first["sparsity"] == pytest.approx((h1 <= TAU).float().mean().item(), abs=1e-7)
    assert first["saturated"] == pytest.approx((h1 >= TAU + M).float().mean().item(), abs=1e-7)
    assert 0 < first["saturated"] < 1
    assert first["dead"] == pytest.approx((h1 <= TAU).all(0).float().mean().item())
    assert first["grad_rms"] == pytest.approx(h1.grad.square().mean().sqrt().item(), rel=1e-5)
    assert second["q"] == pytest.approx(h2.square().mean().item(), rel=1e-6)
    assert second["saturated"] == 0.0
    assert second["grad_rms"] == pytest.approx(h2.grad.square().mean().sqrt().item(), rel=1e-5)


def test_a_gradient_scale_multiplies_the_gradients_alone():
    one, half = measure(network(), inputs()), measure(network(), inputs(), grad_scale=0.5)
    for row, scaled in zip(one, half, strict=True):
        assert scaled["grad_rms"] == pytest.approx(0.5 * row["grad_rms"])
        assert scaled["q"] == row["q"]


def test_dead_units_are_columns_not_samples():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([-99.0, -99, 99, 99, 99, 99]))
    (row,) = measure(model, torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    assert row["dead"] == pytest.approx(2 / 6)
    assert row["sparsity"] == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Conv1d(2, 5, 3), (3, 2, 9)), (nn.Conv2d(2, 5, 3), (3, 2, 9, 8))],
)
def test_dead_units_of_a_convolution_are_channels(layer, shape):
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([-99.0, 99, 99, -99, -99]))
    (row,) = measure(nn.Sequential(layer, CReLU(0.1, 2.0)), torch.randn(shape))
    assert row["dead"] == pytest.approx(3 / 5)
    assert row["sparsity"] == pytest.approx(3 / 5)
    assert row["saturated"] == pytest.approx(2 / 5)


@pytest.mark.parametrize("activation", [CST(TAU, M), SoftThreshold(TAU)])
def test_two_sided_activations_count_both_tails(activation):
    rows = measure(network(activation), inputs())
    h = network()[0](inputs())
    assert rows[0]["sparsity"] == pytest.approx((h.abs() <= TAU).float().mean().item(), abs=1e-7)
    clipped = (h.abs() >= TAU + activation.m).float().mean().item()
    assert rows[0]["saturated"] == pytest.approx(clipped, abs=1e-7)


@pytest.mark.parametrize("m", [0.1, 0.3, 0.7, 1 / 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_clip_that_is_no_binary_fraction_is_still_recognised(m, dtype):
    model = nn.Sequential(nn.Identity(), CReLU(0.2, m))
    monitor = Monitor(model)
    with monitor.at(0):
        model(torch.full((2, 3), 5.0, dtype=dtype))
    assert monitor.rows[0]["saturated"] == 1.0


def test_an_in_place_activation_is_measured_before_it_overwrites_its_input():
    first = network()[0]
    rows = measure(nn.Sequential(first, nn.ReLU(inplace=True)), inputs(), expectation=KNOWN)
    first.zero_grad()
    assert rows == measure(nn.Sequential(first, nn.ReLU()), inputs(), expectation=KNOWN)
    assert rows[0]["q"] == pytest.approx(first(inputs()).square().mean().item(), rel=1e-6)


def test_a_module_used_twice_is_two_layers():
    act = CReLU(TAU, M)
    model = nn.Sequential(nn.Linear(7, 7), act, nn.Linear(7, 7), act)
    rows = measure(model, inputs())
    assert [(row["layer"], row["name"]) for row in rows] == [(0, "1"), (1, "1#2")]
    assert rows[0]["q"] != rows[1]["q"]


def test_the_gradient_of_a_branching_stream_is_the_whole_gradient():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = CReLU(TAU, M)

        def forward(self, h):
            return 3 * h + self.act(h)

    h = torch.linspace(-2, 2, 12).reshape(3, 4).requires_grad_()
    model = Branch()
    monitor = Monitor(model)
    with monitor.at(0):
        model(h * 1.0).sum().backward()
    assert monitor.rows[0]["grad_rms"] == pytest.approx(h.grad.square().mean().sqrt().item())


def test_only_chosen_steps_are_measured():
    model, x = network(), inputs()
    monitor = Monitor(model, every=3)
    for step in range(7):
        with monitor.at(step):
            assert watching() == (step % 3 == 0)
            model(x).sum().backward()
    assert [row["step"] for row in monitor.rows] == [0, 0, 3, 3, 6, 6]


def test_zero_measures_never():
    model = network()
    monitor = Monitor(model, every=0)
    with monitor.at(0):
        assert not watching()
    assert monitor.rows == []


def test_hooks_come_off():
    model, x = network(), inputs()
    monitor = Monitor(model)
    with monitor.at(0):
        loss = model(x).sum()
        loss.backward()
    assert not watching()
    before = list(monitor.rows)
    model(x).sum().backward()
    assert monitor.rows == before


def test_hooks_come_off_on_an_exception_and_nothing_is_recorded():
    model, x = network(), inputs()
    monitor = Monitor(model)
    losses = []

    def fail():
        losses.append(model(x).sum())
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"), monitor.at(0):
        fail()
    assert not watching()
    losses[0].backward()  # the hooks on tensors are off as well
    assert monitor.rows == []


def test_training_is_the_same_with_and_without_a_monitor():
    watched, plain = network(), network()
    measure(watched, inputs())
    plain(inputs()).square().mean().backward()
    for one, other in zip(watched.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_left_alone(training):
    model = network().train(training)
    measure(model, inputs())
    assert all(module.training is training for module in model.modules())


def test_without_a_backward_pass_the_gradient_is_nan():
    model = network()
    monitor = Monitor(model)
    with monitor.at(0), torch.no_grad():
        model(inputs())
    assert all(math.isnan(row["grad_rms"]) for row in monitor.rows)
    assert all(row["q"] > 0 for row in monitor.rows)


def test_without_a_forward_pass_nothing_is_recorded():
    monitor = Monitor(network())
    with monitor.at(0):
        pass
    assert monitor.rows == []


def test_values_that_are_not_finite_are_recorded_as_such():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with torch.no_grad():
        model[0].weight.fill_(math.inf)
    (row,) = measure(model, torch.ones(4, 2))
    assert math.isinf(row["q"])


def test_theory_stands_beside_each_layer_and_is_nan_beyond():
    rows = measure(network(), inputs(), expectation=Expectation((1.5,), (0.9,)))
    assert (rows[0]["q_theory"], rows[0]["sparsity_theory"]) == (1.5, 0.9)
    assert math.isnan(rows[1]["q_theory"])


def test_tokens_have_the_units_of_the_same_rows():
    model = nn.Sequential(nn.Linear(7, 6), nn.ReLU())
    with torch.no_grad():
        model[0].bias[:3] = -99.0
    tokens = torch.randn(4, 5, 7, generator=torch.Generator().manual_seed(0))
    rows = [measure(model, x, expectation=KNOWN)[0] for x in (tokens, tokens.flatten(0, 1))]
    assert [row["dead"] for row in rows] == [0.5, 0.5]


def test_an_activation_that_is_called_by_keyword():
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.phi = network()[0], CReLU(TAU, M)

        def forward(self, x):
            return self.phi(x=self.layer(x))

    (keyword,) = measure(Keyword(), inputs(), expectation=KNOWN)
    plain = nn.Sequential(network()[0], CReLU(TAU, M))
    (positional,) = measure(plain, inputs(), expectation=KNOWN)
    assert keyword == {**positional, "name": "phi"}
    assert keyword["grad_rms"] > 0


def same(rows, others):
    assert len(rows) == len(others) > 0
    for row, other in zip(rows, others, strict=True):
        assert row.pop("name") == other.pop("name")
        assert row == pytest.approx(other, rel=1e-5, nan_ok=True)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_model_that_runs_compiled_is_measured_as_it_is_written():
    torch._dynamo.reset()
    fast = torch.compile(network(), backend="eager")
    fast(inputs()).sum().backward()
    fast.zero_grad()
    same(measure(fast, inputs()), measure(network(), inputs()))


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_adds_no_row_and_keeps_every_gradient(reentrant):
    model, x = network(), inputs().requires_grad_()
    monitor = Monitor(model)
    with monitor.at(0):
        checkpoint(model, x, use_reentrant=reentrant).square().mean().backward()
    assert all(row["grad_rms"] > 0 for row in monitor.rows)
    same(monitor.rows, measure(network(), inputs()))


def test_per_sample_gradients_are_measured_over_the_batch():
    model, x = network(), inputs()
    parameters = dict(model.named_parameters())
    monitor = Monitor(model)

    def loss(given, row):
        return torch.func.functional_call(model, given, (row,)).square().mean()

    with monitor.at(0):
        torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    whole = measure(network(), x)
    for row in whole:  # there, each sample has a loss of its own
        row["grad_rms"] *= len(x)
    same(monitor.rows, whole)


def test_an_activation_that_the_model_does_not_call_is_named():
    model = network()
    model.forward = lambda x: model[1](model[0](x))
    with pytest.warns(UserWarning, match="1 of 2 watched modules were not called .*: 3;"):
        rows = measure(model, inputs())
    assert [row["layer"] for row in rows] == [0]


def test_a_model_without_activation_modules_is_an_error():
    with pytest.raises(InvalidInput, match=r"Linear holds no activation module .* use the modules"):
        Monitor(nn.Linear(2, 2))


def test_a_negative_interval_is_an_error():
    with pytest.raises(InvalidInput, match="every=-1: must be"):
        Monitor(network(), every=-1)


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1.0, 1e25])
def test_gradient_rms_over_the_whole_range_of_float32(size):
    from sparsefield.monitor.measure import gradient_rms, scaled_norm

    g = torch.randn(128, 30, generator=torch.Generator().manual_seed(0)) * size
    want = g.double().pow(2).mean().sqrt()
    torch.testing.assert_close(gradient_rms(g)[0], want, rtol=1e-6, atol=0.0)
    without_float64 = scaled_norm(g).double() / g.numel() ** 0.5
    torch.testing.assert_close(without_float64, want, rtol=1e-6, atol=0.0)
