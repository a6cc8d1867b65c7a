"""A run that holds its zeros: where it ends, what it records, what it chooses by itself."""

import math

import numpy as np
import pytest
import torch

from sparsefield.data import load
from sparsefield.errors import InvalidInput
from sparsefield.train import TrainConfig, load_config, load_model, read_run, train
from sparsefield.train.penalty import Penalty

HELD = {"depth": 5, "width": 60, "skip": 0.9, "hold": 0.9, "epochs": 15}
HELD |= {"optimizer": "adam", "lr": 3e-3, "sparsity": 0.6, "clip": 2.0}


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A run that holds 90 %, with lists wherever they can be."""
    out = tmp_path_factory.mktemp("runs") / "held"
    config = TrainConfig(**HELD, threads=1, device="cpu", engine="sparse", log_every=7, batch=64)
    train(config, out=out, progress=False)
    return out


def test_it_ends_within_a_point_with_units_alive(held):
    result = read_run(held).result
    assert result.sparsity_mean == pytest.approx(0.9, abs=0.01)
    assert np.mean(result.sparsity_init) < 0.7
    assert not result.failed
    assert result.dead_share < 0.2


def test_what_is_held_is_recorded_by_row(held):
    run = read_run(held)
    metrics = run.metrics
    assert np.isfinite(metrics["zeros_trained"]).all()
    assert np.isfinite(metrics["hold_weight"]).all()
    assert metrics["zeros_trained"][-1] == pytest.approx(0.9, abs=0.02)
    evaluated = np.isfinite(metrics["test_accuracy"])
    assert np.array_equal(np.isfinite(metrics["zeros"]), evaluated)
    assert metrics["zeros"][-1] == run.result.sparsity_mean


def test_nothing_is_held_by_default(finished):
    metrics = read_run(finished[1]).metrics
    assert np.isnan(metrics["zeros_trained"]).all()
    assert np.isnan(metrics["hold_weight"]).all()
    assert np.isfinite(metrics["zeros"][-1])


def test_the_dead_share_is_that_of_the_test_set(held):
    model, data = load_model(held), load("digits")
    fired = []
    for phi in model.activations:
        phi.register_forward_hook(lambda m, i, y: fired.append((y != 0).any(dim=0)))
    with torch.no_grad():
        model(data.test_x)
    dead = 1.0 - torch.stack(fired).double().mean().item()
    assert read_run(held).result.dead_share == pytest.approx(dead, abs=1e-9)


def test_no_other_step_is_changed_by_the_first_pass(config, tmp_path):
    """It costs nothing before anything is known: the first step is that of a run without."""
    runs = {}
    for name, changes in {"held": {"hold": 0.9}, "free": {}}.items():
        run = config(**changes, sparsity=0.7, steps=1)
        train(run, out=tmp_path / name, progress=False)
        runs[name] = load_model(tmp_path / name).state_dict()
    assert all(torch.equal(value, runs["free"][name]) for name, value in runs["held"].items())


@pytest.mark.parametrize("network", ["dnn", "cnn"])
def test_on_lists_it_is_the_same_run_to_rounding(config, tmp_path, network):
    small = {"network": network, "width": 12, "sparsity": 0.6, "clip": 2.0, "steps": 40}
    small |= {"optimizer": "adam", "lr": 3e-3}
    ways = {"dense": {}, "sparse": {"engine": "sparse"}, "free": {"hold": None}}
    ends = {}
    for name, changes in ways.items():
        run = config(**{**small, "hold": 0.9, "engine": "dense", **changes})
        train(run, out=tmp_path / name, progress=False)
        parameters = load_model(tmp_path / name).parameters()
        ends[name] = torch.cat([p.detach().flatten() for p in parameters])
    size = ends["dense"].norm()
    assert (ends["dense"] - ends["sparse"]).norm() / size < 5e-5
    assert (ends["dense"] - ends["free"]).norm() / size > 2e-4


def test_only_a_penalty_of_fixed_weight_needs_every_activation_called(config):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    assert not Penalty(config(hold=0.9), model).watches
    assert Penalty(config(penalty="l1", penalty_weight=1.0), model).watches


# --- what it chooses


def test_alone_with_the_skip_it_starts_where_training_is_easy():
    config = TrainConfig(hold=0.95, skip=0.9).resolved()
    assert (config.sparsity, config.clip, config.lr) == (0.5, 2.0, 2e-3)
    assert config.point().clip == pytest.approx(2.0)


def test_alone_without_the_skip_it_starts_at_the_end():
    config = TrainConfig(hold=0.95).resolved()
    assert (config.sparsity, config.clip, config.lr) == (0.95, 1.1, 3e-4)


def test_a_start_that_is_given_stays(tmp_path):
    given = TrainConfig(hold=0.95, skip=0.9, sparsity=0.8, clip=1.3, lr=1e-3).resolved()
    assert (given.sparsity, given.clip, given.lr) == (0.8, 1.3, 1e-3)
    assert TrainConfig(hold=0.4, skip=0.9).sparsity == 0.4  # never above the end
    path = tmp_path / "c.yaml"
    path.write_text("hold: '0.95'\nskip: 0.9\n")
    assert load_config(path).sparsity == 0.5
    assert load_config(path, {"sparsity": 0.9}).sparsity == 0.9


def test_written_out_it_is_the_same_config():
    config = TrainConfig(hold=0.95, skip=0.9).resolved()
    assert TrainConfig(**config.model_dump()).resolved() == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hold": 1.0}, r"^hold=1.0: should be less than 1; hold is: share of exact zeros at the"),
        ({"hold": "much"}, r"^hold='much': should be a valid number"),
        ({"hold": 0.9, "family": "topk"}, r"^hold=0.9 with family=topk: .* leave hold out$"),
        (
            {"hold": 0.9, "penalty": "l1", "penalty_weight": 1},
            r"^hold=0.9 with penalty=l1: .* give one of them$",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(values, message):
    with pytest.raises(InvalidInput, match=message):
        TrainConfig(**values)


def test_every_default_is_as_before_without_it():
    config = TrainConfig(skip=0.9).resolved()
    assert (config.sparsity, config.clip, config.lr, config.hold) == (0.9, 1.1, 3e-4, None)
    assert math.isclose(config.point().sparsity, 0.9)
