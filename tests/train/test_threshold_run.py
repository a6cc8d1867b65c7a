"""Runs whose thresholds rise on the way, and CNNs with BatchNorm."""

import pytest
import torch

from sparsefield.errors import InvalidInput
from sparsefield.nn import FATReLU
from sparsefield.train import TrainConfig, load_model, read_run, train
from sparsefield.train.optimizer import cut_step
from sparsefield.train.runtime import Single

RAISED = {"family": "relu", "sparsity": 0.5, "threshold": 0.9, "threshold_at": 0.5, "lr": 5e-3}
NORMED = {"network": "cnn", "norm": "batch", "width": 6, "q": 1.0, "strides": (1,), "pool": 2}


def test_zeros_accuracy_and_thresholds_are_those_asked_for(config, tmp_path):
    run = config(**RAISED, epochs=30)
    result = train(run, out=tmp_path, progress=False)
    cut = result.threshold
    assert cut["step"] == cut_step(run, result.steps)
    assert cut["after"] < cut["before"]
    assert result.test_accuracy > cut["after"]
    assert all(zeros > 0.8 for zeros in result.sparsity_per_layer)
    taus = [phi.tau for phi in load_model(tmp_path).activations]
    assert all(isinstance(phi, FATReLU) for phi in load_model(tmp_path).activations)
    assert all(tau > 0.0 for tau in taus)


def test_without_it_nothing_is_said(config, tmp_path):
    assert train(config(), out=tmp_path, progress=False).threshold is None
    assert read_run(tmp_path).result.threshold is None


@pytest.mark.parametrize("more", [{}, NORMED], ids=["dnn", "cnn with norms"])
@pytest.mark.parametrize("step", [10, 22, 30])
def test_resumed_before_and_after_the_cut_ends_the_same(
    config, tmp_path, interrupted_after, same_end, more, step
):
    run = config(**RAISED, **more)
    train(run, out=tmp_path / "whole", progress=False)
    interrupted_after(run, tmp_path / "parts", step)
    train(run, out=tmp_path / "parts", resume=True, progress=False)
    assert same_end(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("family", ["crelu", "relu"])
def test_a_norm_gives_every_channel_its_zeros_at_the_start(config, tmp_path, family):
    wanted = 0.85 if family == "crelu" else 0.5
    run = config(**NORMED, family=family, sparsity=wanted, steps=1)
    train(run, out=tmp_path, progress=False)
    model = load_model(tmp_path).train()
    x = torch.randn(64, 1, 8, 8)
    for layer, norm, phi in zip(model.layers, model.norms, model.activations, strict=True):
        x = phi(norm(layer(x)))
        assert abs((x == 0).double().mean().item() - wanted) < 0.05


def test_the_saved_network_is_the_trained_one(config, tmp_path):
    result = train(config(**NORMED, **RAISED, epochs=20), out=tmp_path, progress=False)
    assert result.test_accuracy > 0.5
    buffers = dict(load_model(tmp_path).named_buffers())
    assert float(buffers["norms.0.running_var"].sub(1.0).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": 0.9}, "raises the thresholds of a ReLU network"),
        ({"norm": "batch"}, "a norm is for plain convolutions"),
        ({"norm": "batch", "network": "cnn", "skip": 0.5}, "a norm is for plain convolutions"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(InvalidInput, match=message):
        TrainConfig(**values)


@pytest.mark.parametrize("more", [RAISED, NORMED])
def test_lists_are_refused_in_one_line(config, tmp_path, more):
    with pytest.raises(InvalidInput, match="choose engine dense or auto"):
        train(config(**more, engine="sparse"), out=tmp_path, progress=False)


def test_processes_agree_on_the_mean_of_their_thresholds(config, tmp_path, monkeypatch):
    told = []

    def mean(_, data, *, reduce_op="mean"):
        if data.dtype is not torch.float64 or data.dim():
            return data
        told.append(float(data))
        return data + 1.0  # as if another process had a larger one

    monkeypatch.setattr(Single, "all_reduce", mean)
    train(config(**RAISED), out=tmp_path, progress=False)
    assert len(told) == 3
    assert [phi.tau for phi in load_model(tmp_path).activations] == [tau + 1.0 for tau in told]
