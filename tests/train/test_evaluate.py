import math

import pytest
import torch
from torch import nn

from sparsefield.nn import CReLU
from sparsefield.train import evaluate as module
from sparsefield.train.evaluate import evaluate
from sparsefield.train.runtime import Single


class Second(Single):
    """The second of two processes, alone: its share of the images, nothing exchanged."""

    world_size = 2
    global_rank = 1
    is_global_zero = False


def plain():
    return torch.autocast("cpu", enabled=False)


def run(model, x, y, runtime=None):
    return evaluate(model, x, y, runtime or Single(torch.device("cpu")), plain)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 9), CReLU(0.3, 1.0), nn.Linear(9, 7), nn.ReLU())


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(50, 6, generator=generator), torch.randint(7, (50,), generator=generator)


@pytest.mark.parametrize("batch", [1, 7, 50, 256])
def test_accuracy_and_zeros_by_hand_in_any_batches(data, batch, monkeypatch):
    monkeypatch.setattr(module, "BATCH", batch)
    net, (x, y) = model(), data
    first = net[1](net[0](x))
    last = net[3](net[2](first))
    seen = run(net, x, y)
    assert seen.accuracy == pytest.approx((last.argmax(1) == y).float().mean().item())
    zeros = [(h == 0).float().mean().item() for h in (first, last)]
    assert seen.sparsity == pytest.approx(zeros)
    assert seen.sparsity_mean == pytest.approx(sum(zeros) / 2)


def test_a_process_takes_its_share(data):
    x, y = data
    assert run(model(), x, y, Second(torch.device("cpu"))) == run(model(), x[1::2], y[1::2])


def test_outputs_that_are_not_finite_are_wrong(data):
    x, _ = data
    net = model()
    with torch.no_grad():
        net[2].bias.fill_(math.nan)
    assert run(net, x, torch.zeros(50, dtype=torch.int64)).accuracy == 0.0


def test_modes_and_hooks_are_left_as_they_were(data):
    net = model().train()
    net[0].eval()
    run(net, *data)
    assert [layer.training for layer in net] == [False, True, True, True]
    assert net.training
    assert not any(layer._forward_hooks for layer in net)


def test_an_activation_that_is_not_called_is_named(data):
    net = model()
    net.forward = lambda x: net[2](net[1](net[0](x)))
    with pytest.warns(UserWarning, match="1 of 2 watched modules were not called .*: 3;"):
        assert len(run(net, *data).sparsity) == 1


def test_no_gradient_is_kept(data):
    net = model()
    run(net, *data)
    assert all(value.grad is None for value in net.parameters())
