"""Penalties by hand, in the loss that is minimised and not in the one that is recorded."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sparsefield.data import load
from sparsefield.nn import TopK
from sparsefield.train import TrainConfig, read_run, train
from sparsefield.train.penalty import Penalty, hoyer, l1
from sparsefield.train.runtime import Single
from sparsefield.train.training import Training

DENSE = {"family": "relu", "sparsity": 0.5}
KINDS = ["l1", "hoyer"]


def sample(*shape):
    x = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x.clamp_min(-0.3)  # as an activation: many values alike, of both signs


def gradient(f, y):
    y = y.clone().requires_grad_()
    return torch.autograd.grad(f(y), y)[0].numpy()


@pytest.mark.parametrize("shape", [(5, 12), (3, 4, 2, 3)])
def test_values_and_gradients_by_hand(shape):
    y = sample(*shape)
    rows = y.numpy().reshape(shape[0], -1)
    size, batch, n = np.abs(rows), *rows.shape
    assert float(l1(y)) == pytest.approx(size.mean(), rel=1e-14)
    by_hand = np.sign(rows) / rows.size
    np.testing.assert_allclose(gradient(l1, y).reshape(batch, n), by_hand, rtol=1e-13)

    first, second = size.sum(1, keepdims=True), (rows**2).sum(1, keepdims=True)
    assert float(hoyer(y)) == pytest.approx((first**2 / second / n).mean(), rel=1e-14)
    by_hand = 2 * first * (np.sign(rows) / second - first * rows / second**2) / n / batch
    np.testing.assert_allclose(gradient(hoyer, y).reshape(batch, n), by_hand, atol=1e-15)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e25])
def test_hoyer_knows_no_scale_and_l1_does(scale):
    y = sample(5, 12).float()
    assert float(hoyer(scale * y)) == pytest.approx(float(hoyer(y)), rel=1e-5)
    assert float(l1(scale * y)) == pytest.approx(scale * float(l1(y)), rel=1e-5)


def test_hoyer_runs_from_one_value_to_all():
    one = torch.zeros(2, 8)
    one[0, 3] = one[1, 5] = 7.0
    assert float(hoyer(one)) == pytest.approx(1 / 8)
    assert float(hoyer(torch.full((2, 8), -3.0))) == pytest.approx(1.0)


def test_a_sample_without_any_value_costs_nothing_and_pulls_nowhere():
    y = torch.stack([torch.zeros(6), torch.ones(6)])
    assert float(hoyer(y)) == pytest.approx(0.5)
    assert not gradient(hoyer, y)[0].any()
    assert np.isfinite(gradient(hoyer, y)).all()


def test_sums_are_kept_in_float32():
    y = torch.ones(1, 4096, dtype=torch.bfloat16)
    assert l1(y).dtype == torch.float32
    assert float(hoyer(y)) == pytest.approx(1.0, rel=1e-6)


def training(config, tmp_path):
    return Training(*config.solved(), Single(torch.device("cpu")), tmp_path, load("digits"))


def layers_of(model, images):
    """Every activation of a DNN without a skip, written out."""
    h = model.layers[0](images.flatten(1))
    found = [model.activations[0](h)]
    for layer, phi in zip(model.layers[1:], model.activations[1:], strict=True):
        found.append(phi(layer(found[-1])))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_cross_entropy_plus_weight_times_the_mean(config, tmp_path, kind):
    made = training(config(**DENSE, penalty=kind, penalty_weight=0.7), tmp_path)
    model = made.model.double()
    images, labels = made.batches.at(0)
    images = images.double()
    with made.penalty.watching():
        loss = cross_entropy(model(images), labels)
    got = torch.autograd.grad(made.penalty.added_to(loss), list(model.parameters()))

    layers = layers_of(model, images)
    plain = cross_entropy(model.head(layers[-1]), labels)
    extra = sum({"l1": l1, "hoyer": hoyer}[kind](y) for y in layers) / len(layers)
    want = torch.autograd.grad(plain + 0.7 * extra, list(model.parameters()), retain_graph=True)
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)
    without = torch.autograd.grad(plain, list(model.parameters()))
    assert not torch.allclose(got[0], without[0], rtol=1e-2)


def test_hooks_come_off_and_nothing_is_kept(config, tmp_path):
    made = training(config(**DENSE, penalty="l1", penalty_weight=0.7), tmp_path)
    made.advance()
    assert not any(phi._forward_hooks for phi in made.model.activations)
    loss = torch.ones(())
    assert made.penalty.added_to(loss) is loss  # what was collected is gone
    with pytest.raises(ValueError, match="inside"), made.penalty.watching():
        raise ValueError("inside")
    assert not any(phi._forward_hooks for phi in made.model.activations)


def test_without_a_penalty_nothing_is_hooked(config):
    model = nn.Sequential(nn.Linear(3, 4), TopK(0.5))
    penalty, loss = Penalty(config(), model), torch.ones(())
    with penalty.watching():
        model(torch.ones(2, 3))
        assert not model[1]._forward_hooks
    assert penalty.added_to(loss) is loss


def test_weight_zero_is_the_run_without(config, tmp_path, same_end):
    for name, changes in {"a": {}, "b": {"penalty": "l1", "penalty_weight": 0.0}}.items():
        train(config(**DENSE, **changes), out=tmp_path / name, progress=False)
    assert same_end(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("changes", [{}, {"network": "cnn", "width": 8}, {"precision": "bf16"}])
@pytest.mark.parametrize(("kind", "weight"), [("l1", 3.0), ("hoyer", 5.0)])
def test_zeros_rise(config, tmp_path, kind, weight, changes):
    base = {**DENSE, **changes, "optimizer": "adam", "lr": 3e-3, "epochs": 3}
    free = train(config(**base), out=tmp_path / "free", progress=False)
    held = config(**base, penalty=kind, penalty_weight=weight)
    assert train(held, out=tmp_path / "held", progress=False).sparsity_mean > (
        free.sparsity_mean + 0.05
    )


def test_the_recorded_loss_is_cross_entropy(config, tmp_path):
    steps = {"steps": 1, "log_every": 1}
    free = train(config(**DENSE, **steps), out=tmp_path / "free", progress=False)
    held = config(**DENSE, **steps, penalty="l1", penalty_weight=100.0)
    assert train(held, out=tmp_path / "held", progress=False).train_loss == free.train_loss


def test_the_monitor_measures_as_ever_but_the_gradient_is_the_whole_one(config, tmp_path):
    rows = []
    for weight in (0.0, 100.0):
        run = config(**DENSE, steps=1, penalty="l1", penalty_weight=weight)
        train(run, out=tmp_path / f"{weight:g}", progress=False)
        rows.append(read_run(tmp_path / f"{weight:g}").layers)
    for name in ("q", "sparsity", "saturated", "dead", "q_theory"):
        np.testing.assert_array_equal(rows[0][name], rows[1][name])
    assert (rows[1]["grad_rms"] > 2 * rows[0]["grad_rms"]).all()


def test_the_config_is_checked_for_both():
    assert TrainConfig(**DENSE, penalty="l1", penalty_weight=0.0).penalty_weight == 0.0
    assert TrainConfig(family="crelu", penalty="hoyer", penalty_weight=1).penalty == "hoyer"
