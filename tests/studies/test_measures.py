"""What a run is measured by, against the same numbers got another way."""

import math

import numpy as np
import pytest
import torch

from sparsefield.data import load
from sparsefield.errors import InvalidInput
from sparsefield.studies.measures import (
    LEVELS,
    chi1,
    curve,
    initial,
    measures,
    rounded,
)
from sparsefield.studies.record import MEASURES
from sparsefield.train import TrainConfig, read_run, train
from sparsefield.train.evaluate import counting_zeros

DENSE = {"data": "digits", "depth": 3, "width": 40, "family": "relu", "sparsity": 0.5, "lr": 1e-2}
DENSE |= {"batch": 64, "steps": 40, "validation": 0.1, "threads": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def directory(made):
    return made.directory / "plane" / "runs" / "q4-lr0.01-seed1"


@pytest.fixture(scope="module")
def dataset():
    return load("digits")


@pytest.fixture(scope="module")
def found(directory, dataset):
    return measures(directory, dataset)


def test_the_result_is_taken_over(found, directory):
    result = read_run(directory).result
    assert list(found) == list(MEASURES)
    assert found["test_accuracy"] == pytest.approx(result.test_accuracy, rel=1e-6)
    assert found["validation_accuracy"] == pytest.approx(result.validation_accuracy, rel=1e-6)
    assert found["steps_made"] == 30
    assert found["zeros_init"] == pytest.approx(np.mean(result.sparsity_init), rel=1e-6)
    assert found["zeros_end"] == pytest.approx(result.sparsity_mean, rel=1e-6)
    assert found["zeros_end_last"] == pytest.approx(result.sparsity_per_layer[2], rel=1e-6)


def test_the_monitor_is_read_at_its_ends(found, directory):
    layers = read_run(directory).layers
    first, last = layers["step"] == 0, layers["step"] == 20
    assert found["q_end"] == pytest.approx(layers["q"][last].mean() / 4.0, rel=1e-6)
    assert found["saturated_init"] == pytest.approx(layers["saturated"][first].mean(), rel=1e-6)
    assert found["saturated_end"] == pytest.approx(layers["saturated"][last].mean(), rel=1e-6)
    assert found["saturated_init"] != found["saturated_end"]


def test_the_initial_network_is_that_which_was_trained(directory, dataset):
    """Its zeros on the test set are those that the run recorded before its first step."""
    run = read_run(directory)
    for seed, same in ((1, True), (0, False)):
        model = initial(run.config.model_copy(update={"seed": seed}), dataset)
        with torch.no_grad(), counting_zeros(model) as counts:
            model(dataset.test_x)
        seen = [int(z) / size for z, size in zip(counts.zeros, counts.sizes, strict=True)]
        assert (seen == pytest.approx(run.result.sparsity_init, rel=1e-6)) is same


def test_chi1_is_one_at_the_edge_of_chaos(dataset):
    config = TrainConfig(depth=4, width=1000, sparsity=0.8)
    model, point = initial(config, dataset), config.point()
    clipped = 0.5 * math.erfc((point.tau + point.m) / math.sqrt(2 * point.q))
    layers = {"sparsity": np.full(4, 0.8), "saturated": np.full(4, clipped)}
    # the mean of 3 x 10^6 squares: standard error 8e-4
    assert chi1(model, layers) == pytest.approx(1.0, abs=4e-3)
    forgotten = {**layers, "saturated": np.zeros(4)}  # the twin: the clip forgotten
    assert chi1(model, forgotten) > 1.1
    assert chi1(model, {}) is None


def test_steps_to_half(found, directory):
    metrics = read_run(directory).metrics
    below = metrics["step"][metrics["loss"] < 0.5 * math.log(10)]
    assert found["steps_to_half"] == (below[0] if len(below) else None)


def test_a_run_that_diverged_and_was_not_monitored(made, dataset):
    found = measures(made.directory / "alone" / "runs" / "seed0", dataset)
    assert found["failed"]
    assert "diverged" in found["reason"]
    empty = ("steps_to_half", "q_end", "saturated_init", "saturated_end")
    empty += ("chi1_init", "chi1_end")
    assert [name for name in empty if found[name] is not None] == []


@pytest.mark.parametrize("change", [{}, {"skip": 0.9}])
def test_a_dense_network_is_thresholded(dataset, tmp_path, change):
    dense = {**DENSE, **change}
    train(TrainConfig(**dense), out=tmp_path / "run", progress=False)
    found = measures(tmp_path / "run", dataset)["thresholded"]
    assert [level for level, _, _ in found] == list(LEVELS)
    shares = [zeros for _, _, zeros in found]
    assert shares == sorted(set(shares))
    assert all(abs(zeros - level) < 0.1 for level, _, zeros in found)


@pytest.mark.parametrize(
    "change",
    [
        {"family": "crelu", "sparsity": 0.5},
        {"sparsity": 0.6},
        {"penalty": "l1", "penalty_weight": 1.0},
        {"network": "cnn"},
    ],
)
def test_no_other_network_is(dataset, tmp_path, change):
    config = TrainConfig(**{**DENSE, **change})
    assert curve(tmp_path / "nowhere", config, dataset) is None
    with pytest.raises(InvalidInput):  # the twin: a dense one would be looked for
        curve(tmp_path / "nowhere", TrainConfig(**DENSE), dataset)


def test_numbers_are_short_and_finite():
    assert rounded(1 / 3) == 0.3333333
    assert rounded(math.inf) is rounded(math.nan) is None
    assert rounded(7) == 7
    assert rounded(True) is True
    assert rounded([[1 / 3, math.nan], [7]]) == [[0.3333333, None], [7]]
