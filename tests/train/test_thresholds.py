"""Thresholds of a trained network: its quantiles, layer after layer, on training images."""

import math

import pytest
import torch

from sparsefield.errors import InvalidInput
from sparsefield.nn.fatrelu import fatrelu, quantile
from sparsefield.train import TrainConfig, read_run, train
from sparsefield.train.evaluate import counting_zeros
from sparsefield.train.thresholds import Thresholded

DENSE = {"family": "relu", "sparsity": 0.5, "optimizer": "adam", "lr": 3e-3}
KINDS = {
    "dnn": {},
    "skip": {"skip": 0.8, "validation": 0.2},
    "cnn": {"network": "cnn", "width": 8, "steps": 15},
    "bf16": {"precision": "bf16"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One finished run of each kind."""
    folder = tmp_path_factory.mktemp("dense")
    small = {"depth": 4, "width": 24, "epochs": 2, "batch": 64, "threads": 1, "device": "cpu"}
    for name, changes in KINDS.items():
        train(TrainConfig(**{**small, **DENSE, **changes}), out=folder / name, progress=False)
    return folder


each = pytest.mark.parametrize("kind", KINDS)


@each
def test_level_zero_is_the_network_as_recorded(runs, kind):
    seen, result = Thresholded(runs / kind).evaluate(0.0), read_run(runs / kind).result
    assert seen.accuracy == result.test_accuracy
    assert seen.sparsity == result.sparsity_per_layer


@each
def test_zeros_rise_with_the_level(runs, kind):
    network = Thresholded(runs / kind)
    shares = [network.evaluate(level).sparsity_mean for level in (0.0, 0.7, 0.9, 0.97)]
    assert shares == sorted(set(shares))
    assert shares[-1] == pytest.approx(0.97, abs=0.04)


def zeros_on_the_sample(network, thresholds):
    labels = torch.zeros(len(network.sample), dtype=torch.int64)
    return network.evaluate_at(thresholds, network.sample, labels).sparsity


@each
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_on_the_sample_every_layer_has_the_level(runs, kind, level):
    network = Thresholded(runs / kind)
    free = zeros_on_the_sample(network, (0.0,) * 4)
    held = zeros_on_the_sample(network, network.thresholds(level))
    # bfloat16 has few values, and those equal to the threshold fall together
    spare = 0.02 if kind == "bf16" else 2 / len(network.sample)
    for share, before in zip(held, free, strict=True):
        assert max(level, before) <= share + 1e-12
        assert share <= max(level, before) + spare


def test_thresholds_calibrated_without_the_earlier_ones_would_miss_it(runs):
    network = Thresholded(runs / "dnn")
    seen = []
    hooks = [m.register_forward_hook(lambda m, a, y: seen.append(y)) for m in acts(network)]
    with torch.no_grad():
        network.model(network.sample)
    for hook in hooks:
        hook.remove()
    alone = [quantile(y, 0.9) for y in seen]
    assert alone[0] == network.thresholds(0.9)[0]
    shares = zeros_on_the_sample(network, alone)
    assert shares[0] == pytest.approx(0.9, abs=1e-3)
    assert max(abs(share - 0.9) for share in shares[1:]) > 0.01


def acts(network):
    return network.model.activations


def test_kept_values_are_unchanged_and_hooks_come_off(runs):
    network = Thresholded(runs / "dnn")
    thresholds = network.thresholds(0.9)
    assert not any(module._forward_hooks for module in acts(network))
    with network._cutting(lambda layer, y: fatrelu(y, thresholds[layer])):
        x = network.sample
        h = network.model.layers[0](x.flatten(1))
        y = acts(network)[0](h)
    kept = y != 0
    assert torch.equal(y[kept], h[kept])
    assert y[kept].min() > thresholds[0]
    assert torch.equal(kept, h > thresholds[0])
    with counting_zeros(network.model):
        assert network.evaluate(0.0).accuracy == read_run(runs / "dnn").result.test_accuracy


def test_the_sample_is_of_images_trained_on(runs):
    config_sample = Thresholded(runs / "skip", sample=10**6).sample
    everything = Thresholded(runs / "dnn", sample=10**6).sample
    assert len(config_sample) == pytest.approx(0.8 * len(everything), abs=1)
    few = [Thresholded(runs / "dnn", sample=50).sample for _ in range(2)]
    assert len(few[0]) == 50
    assert torch.equal(*few)


def test_quantiles():
    y = torch.arange(10.0) - 2.0
    assert [quantile(y, level) for level in (0.0, 0.1, 0.3, 0.5, 0.95)] == [0, 0, 0, 2, 7]
    assert (fatrelu(y, 2.0) == 0).float().mean() == 0.5
    assert fatrelu(torch.tensor([math.nan, 1.0]), 2.0)[0].isnan()


@pytest.mark.parametrize("level", [-0.1, 1.0, math.nan])
def test_a_level_outside_its_range(runs, level):
    with pytest.raises(InvalidInput, match="a share of zeros in"):
        Thresholded(runs / "dnn").evaluate(level)


def test_other_runs_are_refused(finished, runs, tmp_path):
    with pytest.raises(InvalidInput, match="is a run of family crelu; .* give a run of family"):
        Thresholded(finished[1])
    with pytest.raises(InvalidInput, match="sample 0: must be"):
        Thresholded(runs / "dnn", sample=0)
    with pytest.raises(InvalidInput, match="there is no such file"):
        Thresholded(tmp_path)
