import json
import math

import numpy as np
import pytest
import torch

from sparsefield import theory
from sparsefield.data import load, split
from sparsefield.errors import InvalidInput, SparsefieldError
from sparsefield.train import load_config, load_model, read_run, train
from sparsefield.train.record import LAYERS_COLUMNS, METRICS_COLUMNS
from sparsefield.train.runtime import start_runtime
from sparsefield.train.training import Training, last_epoch_loss


def quietly(config, out, **options):
    return train(config, out=out, progress=False, **options)


def test_a_run_learns_and_leaves_a_whole_record(finished):
    config, out = finished
    run = read_run(out)
    assert run.result.test_accuracy > 0.4
    assert not run.result.failed
    assert run.result.reason is None
    assert run.config == load_config(out / "config.yaml") == config.resolved()
    names = {path.name for path in out.iterdir()}
    assert names == {
        "config.yaml",
        "result.json",
        "metrics.parquet",
        "layers.parquet",
        "model.safetensors",
        "checkpoint",
    }


def test_the_result_has_the_contracts_keys(finished):
    _, out = finished
    result = json.loads((out / "result.json").read_text())
    assert set(result) == {
        "test_accuracy",
        "train_loss",
        "sparsity_mean",
        "sparsity_per_layer",
        "failed",
        "reason",
        "steps",
        "seconds",
        "seed",
        "versions",
        "sparsity_init",
        "hardware",
        "data_digest",
        "validation_accuracy",
        "commit",
        "engine",
        "dead_share",
        "threshold",
    }
    assert result["validation_accuracy"] is None
    assert set(result["versions"]) == {"python", "torch", "numpy", "sparsefield"}
    assert set(result["hardware"]) == {"cpu", "cores", "threads", "processes", "gpu"}
    assert result["hardware"]["threads"] == 1
    assert result["steps"] == 2 * 22
    assert len(result["sparsity_per_layer"]) == len(result["sparsity_init"]) == 3
    assert result["sparsity_mean"] == pytest.approx(np.mean(result["sparsity_per_layer"]))
    assert result["seconds"] > 0


def test_the_tables_have_the_contracts_columns(finished):
    _, out = finished
    run = read_run(out)
    assert list(run.metrics) == list(METRICS_COLUMNS)
    assert list(run.layers) == list(LAYERS_COLUMNS)
    assert all(run.metrics[name].dtype == kind for name, kind in METRICS_COLUMNS.items())
    assert all(run.layers[name].dtype == kind for name, kind in LAYERS_COLUMNS.items())


def test_rows_come_at_log_steps_and_at_the_end_of_epochs(finished):
    metrics = read_run(finished[1]).metrics
    assert metrics["step"].tolist() == [7, 14, 21, 22, 28, 35, 42, 44]
    assert metrics["epoch"].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    evaluated = ~np.isnan(metrics["test_accuracy"])
    assert metrics["step"][evaluated].tolist() == [22, 44]
    assert metrics["test_accuracy"][-1] == read_run(finished[1]).result.test_accuracy
    assert (np.diff(metrics["seconds"]) >= 0).all()


def test_the_learning_rate_of_a_row_is_that_of_its_last_step(finished):
    run = read_run(finished[1])
    metrics, warm = run.metrics, math.ceil(run.config.warmup * 44)
    done = (metrics["step"] - 1 - warm) / (44 - warm)
    assert metrics["lr"] == pytest.approx(0.1 * 0.5 * (1 + np.cos(np.pi * done)))


def test_layers_stand_beside_theory_at_initialisation(finished):
    layers = read_run(finished[1]).layers
    assert layers["step"].tolist() == [step for step in range(0, 44, 10) for _ in range(3)]
    assert layers["layer"].tolist() == [0, 1, 2] * 5
    assert layers["q_theory"] == pytest.approx(4.0)
    assert layers["sparsity_theory"] == pytest.approx(0.7)
    first = layers["step"] == 0
    assert layers["q"][first] == pytest.approx(4.0, rel=0.6)  # width 24: a wide band
    assert (layers["grad_rms"] > 0).all()


def test_the_same_config_twice_gives_the_same_run(finished, config, tmp_path, same_end):
    quietly(config(), tmp_path)
    assert same_end(finished[1], tmp_path)


def test_another_seed_gives_another_run(finished, config, tmp_path, same_end):
    quietly(config(seed=1), tmp_path)
    assert not same_end(finished[1], tmp_path)


def test_no_global_state_is_changed(config, tmp_path):
    torch.manual_seed(7)
    random, threads = torch.random.get_rng_state(), torch.get_num_threads()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    quietly(config(epochs=1, threads=threads + 1), tmp_path)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_the_global_random_state_changes_nothing(finished, config, tmp_path, same_end):
    torch.manual_seed(12345)
    quietly(config(), tmp_path)
    assert same_end(finished[1], tmp_path)


def test_steps_end_the_run_and_the_schedule(config, tmp_path):
    result = quietly(config(steps=9, schedule="cosine"), tmp_path)
    metrics = read_run(tmp_path).metrics
    assert result.steps == 9
    assert metrics["step"].tolist() == [7, 9]
    assert metrics["lr"][-1] < 0.1 * 0.1
    assert not math.isnan(metrics["test_accuracy"][-1])


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adam", "lr": 2e-3},
        {"optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.01},
        {"grad_clip": 0.5},
        {"skip": 0.5},
        {"family": "cst", "m": 2.0},
        {"family": "relu"},
        {"precision": "bf16"},
        {"schedule": "constant", "warmup": 0.0},
    ],
)
def test_variants_learn(config, tmp_path, changes):
    result = quietly(config(**changes), tmp_path)
    assert not result.failed, result.reason


def test_a_cnn_learns(config, tmp_path):
    result = quietly(
        config(network="cnn", width=24, strides=[1], epochs=1, padding="zeros"), tmp_path
    )
    assert not result.failed, result.reason
    assert result.sparsity_init == pytest.approx([0.7] * 3, abs=0.2)


def test_gradient_clipping_changes_the_run(finished, config, tmp_path, same_end):
    quietly(config(grad_clip=0.01), tmp_path)
    assert not same_end(finished[1], tmp_path)


def test_a_monitor_that_never_measures_changes_only_its_table(finished, config, tmp_path):
    quietly(config(monitor_every=0), tmp_path)
    watched, unwatched = read_run(finished[1]), read_run(tmp_path)
    assert len(unwatched.layers["q"]) == 0
    assert np.array_equal(unwatched.metrics["loss"], watched.metrics["loss"])


def test_a_run_that_diverges_is_recorded_and_raises_nothing(config, tmp_path):
    result = quietly(config(lr=1e30, family="relu", epochs=10), tmp_path)
    assert result.failed
    assert "diverged; lower lr" in result.reason
    assert math.isnan(result.train_loss)
    assert result.steps < 10 * 22
    assert json.loads((tmp_path / "result.json").read_text())["train_loss"] is None
    again = quietly(config(lr=1e30, family="relu", epochs=10), tmp_path, resume=True)
    assert again.reason == result.reason


def test_a_run_at_chance_is_recorded_as_failed(config, tmp_path):
    result = quietly(config(lr=1e-9, epochs=1, depth=12, width=8), tmp_path)
    assert result.failed
    assert "a tenth of the way from chance" in result.reason
    assert math.isfinite(result.train_loss)


def test_the_train_loss_is_the_mean_over_the_last_epoch():
    rows = [
        {"step": 2, "epoch": 1, "loss": 9.0},
        {"step": 5, "epoch": 2, "loss": 1.0},
        {"step": 6, "epoch": 2, "loss": 5.0},
    ]
    assert last_epoch_loss(rows) == pytest.approx((3 * 1.0 + 1 * 5.0) / 4)


def test_an_impossible_point_is_an_error_before_anything_is_written(config, tmp_path):
    with pytest.raises(SparsefieldError):
        quietly(config(slope=1.5), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("changes", "times"), [({}, 1), ({"clip": "auto", "width": 100}, 2)])
def test_the_point_is_solved_once(config, tmp_path, monkeypatch, changes, times):
    solve, seen = theory.solve, []
    monkeypatch.setattr(theory, "solve", lambda *a, **k: seen.append(k) or solve(*a, **k))
    quietly(config(epochs=1, steps=1, **changes), tmp_path)
    assert len(seen) == times  # auto: a clip is chosen, and what is recorded of it solved


def test_the_network_of_auto_is_that_of_its_record(config, tmp_path):
    quietly(config(epochs=1, steps=1, clip="auto", width=100), tmp_path)
    recorded = load_config(tmp_path / "config.yaml")
    assert isinstance(recorded.clip, float)
    phi, point = load_model(tmp_path).activations[0], recorded.point()
    assert (phi.tau, phi.m) == (point.tau, point.m)
    again, solved = config(epochs=1, steps=1, clip="auto", width=100).solved()
    assert (again, solved.tau, solved.m) == (recorded, point.tau, point.m)


def test_a_batch_larger_than_the_data(config, tmp_path):
    with pytest.raises(InvalidInput, match="batch=2000: larger than the training set of"):
        quietly(config(batch=2000), tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none(config, tmp_path):
    with pytest.raises(InvalidInput, match="device=cuda: PyTorch sees no GPU here; choose"):
        quietly(config(device="cuda"), tmp_path)


def test_progress_goes_to_stderr_one_line_an_epoch(config, tmp_path, capsys):
    train(config(), out=tmp_path)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[1] for line in err.splitlines()] == ["1/2", "2/2"]


def test_images_kept_apart_are_not_trained_on_and_are_judged_by(config, tmp_path, same_end):
    chosen = config(validation=0.25, epochs=1)
    result = quietly(chosen, tmp_path / "run")
    train_on, kept_apart = split(1442, 0.25)
    assert result.steps == len(train_on) // 64
    training = Training(*chosen.solved(), start_runtime(chosen), tmp_path, load("digits"))
    seen = {tuple(image.flatten().tolist()) for image in training.batches.at(0)[0]}
    images = load("digits").train_x.flatten(1)
    assert seen <= {tuple(image.tolist()) for image in images[train_on]}
    model, labels = load_model(tmp_path / "run"), load("digits").train_y
    right = model(images[kept_apart]).argmax(1) == labels[kept_apart]
    assert result.validation_accuracy == float(right.sum()) / len(kept_apart)
    assert result.validation_accuracy != result.test_accuracy


def test_a_record_from_before_these_keys_can_be_read(config, tmp_path):
    quietly(config(epochs=1, steps=2), tmp_path / "run")
    path = tmp_path / "run" / "result.json"
    content = json.loads(path.read_text())
    del content["validation_accuracy"], content["commit"]
    path.write_text(json.dumps(content))
    assert read_run(tmp_path / "run").result.commit is None
    del content["steps"]
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match="damaged"):
        read_run(tmp_path / "run")
