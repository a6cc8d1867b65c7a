"""``engine``: dense, sparse or auto; what is chosen is part of the run."""

import copy
import json
import os
import shutil
import signal
from itertools import pairwise

import numpy as np
import pytest
import torch

from sparsefield.data import load
from sparsefield.engine import choosing
from sparsefield.engine.choosing import BLOCK, ROUNDS
from sparsefield.engine.ways import Ways
from sparsefield.errors import InvalidInput
from sparsefield.sweep.grid import read_grid
from sparsefield.train import TrainConfig, load_config, load_model, read_run, train
from sparsefield.train.checkpoint import load_checkpoint
from sparsefield.train.configfile import dump_config
from sparsefield.train.runtime import Single
from sparsefield.train.training import Training

EPS = torch.finfo(torch.float32).eps
DEPTH, WIDTH = 4, 48
TRIAL = 2 * BLOCK * ROUNDS
# A loss sums DEPTH x WIDTH products in another order; a step passes the difference on.
FIRST = 5
TOLERANCE = FIRST * DEPTH * WIDTH**0.5 * EPS


@pytest.fixture
def run(config):
    """A config with an engine."""
    shape = {"depth": DEPTH, "width": WIDTH, "log_every": 1, "lr": 5e-3}
    return lambda engine, **changes: config(**{"engine": engine, **shape, **changes})


@pytest.fixture
def pays(monkeypatch):
    """Let a small network be worth measuring, and a short run."""
    monkeypatch.setattr(choosing, "WORK", 0.0)
    monkeypatch.setattr(choosing, "SHARE", 1)


@pytest.fixture
def takes(monkeypatch, pays):
    """Let steps take as long as they are said to: a dense one, one with layers on lists."""

    def arrange(dense, lists):
        def took(ways, step, seconds):
            on_lists = ways._chooser.at(step).at(step)
            ways._chooser.took(step, lists if on_lists else dense)

        monkeypatch.setattr(Ways, "took", took)

    return arrange


@pytest.fixture
def interrupted(monkeypatch):
    """Make a run until a signal comes after the given step."""

    def until(step, config, out):
        record = Training.record

        def recording(training, shown):
            record(training, shown)
            if training.step == step:
                os.kill(os.getpid(), signal.SIGTERM)

        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
        with monkeypatch.context() as patch:
            patch.setattr(Training, "record", recording)
            with pytest.raises(KeyboardInterrupt):
                train(config, out=out, resume=True, progress=False)
        signal.signal(signal.SIGTERM, previous)

    return until


def losses(config, out):
    train(config, out=out, progress=False)
    return read_run(out).metrics["loss"]


KINDS = {
    "sgd": {},
    "plain sgd": {"momentum": 0.0},
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "decay": {"weight_decay": 0.01},
    "skip": {"skip": 0.9},
    "clipped": {"grad_clip": 0.5},
    "penalty": {"penalty": "hoyer", "penalty_weight": 0.5},
    "l1": {"optimizer": "adam", "penalty": "l1", "penalty_weight": 0.5},
    "rates": {"lr_first": 2.0, "lr_bias": 3.0, "lr_head": 0.5},
    "watched": {"monitor_every": 2, "optimizer": "adam"},
    "two sided": {"family": "cst"},
    "cnn": {"network": "cnn", "width": 12, "strides": (2,), "optimizer": "adam"},
    "cnn, watched": {"network": "cnn", "width": 12, "skip": 0.9, "monitor_every": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_losses_of_the_first_steps_are_those_of_dense(run, tmp_path, kind):
    few = {**KINDS[kind], "epochs": 1, "steps": FIRST}
    dense = losses(run("dense", **few), tmp_path / "dense")
    lists = losses(run("sparse", **few), tmp_path / "lists")
    assert lists == pytest.approx(dense, rel=TOLERANCE)
    assert not np.array_equal(lists, dense)  # it is another way


@pytest.mark.parametrize("change", [{"lr": 5e-3 * 1.01}, {"grad_clip": 0.5}, {"momentum": 0.8}])
def test_the_tolerance_sees_another_update(run, tmp_path, change):
    few = {"epochs": 1, "steps": FIRST}
    dense = losses(run("dense", **few), tmp_path / "dense")
    other = losses(run("sparse", **few, **change), tmp_path / "other")
    assert other != pytest.approx(dense, rel=10 * TOLERANCE)


def test_the_end_is_that_of_dense(run, tmp_path):
    ends = [
        train(run(engine, epochs=10, lr=0.05), out=tmp_path / engine, progress=False)
        for engine in ("dense", "sparse")
    ]
    dense, lists = ends
    assert dense.test_accuracy > 0.8
    assert lists.test_accuracy == pytest.approx(dense.test_accuracy, abs=0.02)
    assert lists.sparsity_mean == pytest.approx(dense.sparsity_mean, abs=0.01)
    assert dense.engine["layers_on_lists"] == 0
    assert lists.engine["layers_on_lists"] == lists.engine["of"] == DEPTH
    rows = [read_run(tmp_path / engine).layers for engine in ("dense", "sparse")]
    at_first = rows[0]["step"] == 0
    for name in rows[0]:
        assert rows[1][name][at_first] == pytest.approx(
            rows[0][name][at_first], rel=1e3 * TOLERANCE, abs=1e-6, nan_ok=True
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [20, 21])
def test_interrupted_on_lists_and_resumed_ends_as_uninterrupted(
    run, tmp_path, interrupted, same_end, kind, step
):
    config = run("sparse", **KINDS[kind])
    train(config, out=tmp_path / "whole", progress=False)
    interrupted(step, config, tmp_path / "parts")
    train(config, out=tmp_path / "parts", resume=True, progress=False)
    assert same_end(tmp_path / "whole", tmp_path / "parts")


def test_the_same_seed_gives_the_same_bits_and_dense_gives_others(run, tmp_path, same_end):
    for name, engine in {"one": "sparse", "other": "sparse", "dense": "dense"}.items():
        train(
            run(engine, threads=2, skip=0.9, epochs=1, steps=12),
            out=tmp_path / name,
            progress=False,
        )
    assert same_end(tmp_path / "one", tmp_path / "other")
    assert not same_end(tmp_path / "one", tmp_path / "dense")


def choices(out):
    return json.loads((out / "engine.json").read_bytes())["choices"]


def on_lists(out):
    """Of each choice, the numbers of layers on lists."""
    return [[len(way) for way in choice["ways"]] for choice in choices(out)]


@pytest.mark.parametrize(("dense", "lists", "kept"), [(3.0, 1.0, DEPTH), (1.0, 3.0, 0)])
def test_auto_keeps_what_is_faster(run, tmp_path, takes, dense, lists, kept):
    takes(dense, lists)
    result = train(run("auto"), out=tmp_path, progress=False)
    assert on_lists(tmp_path) == [[DEPTH, 0], [kept]]
    assert [choice["step"] for choice in choices(tmp_path)] == [0, TRIAL]
    gain = dense / lists if kept else 1.0
    assert result.engine == {
        "asked": "auto",
        "layers_on_lists": kept,
        "of": DEPTH,
        "speedup": gain,
        "reason": None,
    }
    assert read_run(tmp_path).result == result


@pytest.mark.parametrize("step", [5, TRIAL - 1, TRIAL, TRIAL + 1, 30])
@pytest.mark.parametrize("kind", ["adam", "watched", "penalty", "clipped"])
def test_auto_interrupted_and_resumed_ends_as_uninterrupted(
    run, tmp_path, takes, interrupted, same_end, step, kind
):
    config = run("auto", **KINDS[kind])
    takes(2.0, 1.0)
    train(config, out=tmp_path / "whole", progress=False)
    interrupted(step, config, tmp_path / "parts")
    if step >= TRIAL:
        takes(1.0, 2.0)  # it is decided, whatever the machine does now
    train(config, out=tmp_path / "parts", resume=True, progress=False)
    assert same_end(tmp_path / "whole", tmp_path / "parts")


def test_what_was_decided_after_the_last_checkpoint_is_not_measured_again(
    run, tmp_path, takes, interrupted, same_end
):
    takes(2.0, 1.0)
    train(run("auto"), out=tmp_path / "whole", progress=False)
    out = tmp_path / "parts"
    interrupted(5, run("auto"), out)
    early = (out / "checkpoint").read_bytes()
    interrupted(TRIAL + 2, run("auto"), out)
    (out / "checkpoint").write_bytes(early)  # as a kill would have left it
    takes(1.0, 2.0)
    train(run("auto"), out=out, resume=True, progress=False)
    assert same_end(tmp_path / "whole", out)


def test_a_checkpoint_keeps_choices_whose_file_is_lost(run, tmp_path, takes, interrupted, same_end):
    takes(2.0, 1.0)
    train(run("auto"), out=tmp_path / "whole", progress=False)
    interrupted(TRIAL + 2, run("auto"), tmp_path / "parts")
    (tmp_path / "parts" / "engine.json").unlink()
    takes(1.0, 2.0)
    train(run("auto"), out=tmp_path / "parts", resume=True, progress=False)
    assert same_end(tmp_path / "whole", tmp_path / "parts")


def test_the_same_choices_give_the_same_bits_elsewhere(run, tmp_path, takes, same_end):
    takes(2.0, 1.0)
    train(run("auto"), out=tmp_path / "one", progress=False)
    takes(1.0, 2.0)
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "one" / "engine.json", tmp_path / "other")
    train(run("auto"), out=tmp_path / "other", progress=False)
    assert same_end(tmp_path / "one", tmp_path / "other")
    train(run("auto"), out=tmp_path / "measured", progress=False)
    assert not same_end(tmp_path / "one", tmp_path / "measured")


def test_auto_that_chooses_dense_from_the_start_is_dense_to_the_last_bit(run, tmp_path, pays):
    half = {"family": "cst", "sparsity": 0.3, "optimizer": "adam"}
    for engine in ("auto", "dense"):
        train(run(engine, **half), out=tmp_path / engine, progress=False)
    assert on_lists(tmp_path / "auto") == [[0]]
    one, other = (load_model(tmp_path / engine).state_dict() for engine in ("auto", "dense"))
    assert all(one[name].equal(other[name]) for name in one)


def test_drift_is_measured_anew(run, tmp_path, takes, monkeypatch):
    monkeypatch.setattr(choosing, "REST", TRIAL)
    monkeypatch.setattr(choosing, "DRIFT", 0.0)
    takes(2.0, 1.0)
    train(run("auto", epochs=4), out=tmp_path, progress=False)
    assert [len(ways) for ways in on_lists(tmp_path)] == [2, 1, 2, 1]
    steps = [choice["step"] for choice in choices(tmp_path)]
    assert all(before < after for before, after in pairwise(steps))
    assert steps[2] % 22 == 0  # at the end of an epoch, which has looked


REFUSED = {
    "topk": ({"family": "topk"}, "TopK is not known"),
    "bf16": ({"precision": "bf16"}, "precision=bf16, and lists are of float32"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_where_lists_cannot_be(run, tmp_path, pays, capsys, kind):
    changes, why = REFUSED[kind]
    with pytest.raises(InvalidInput, match=rf"engine=sparse: .*{why}.*choose engine dense or auto"):
        train(run("sparse", **changes), out=tmp_path / "sparse")
    assert not (tmp_path / "sparse" / "config.yaml").exists()
    result = train(run("auto", **changes), out=tmp_path / "auto")
    assert capsys.readouterr().err.count("engine: dense, ") == 1
    assert why in result.engine["reason"]
    train(run("dense", **changes), out=tmp_path / "dense", progress=False)
    one, other = (tmp_path / name / "model.safetensors" for name in ("auto", "dense"))
    assert one.read_bytes() == other.read_bytes()


def test_without_kernels(run, tmp_path, pays, takes, interrupted, monkeypatch):
    takes(2.0, 1.0)
    interrupted(TRIAL + 2, run("auto"), tmp_path / "begun")
    monkeypatch.setattr("sparsefield.engine.training.kernels", lambda: None)
    with pytest.raises(InvalidInput, match="engine=sparse: .*needs the compiled kernels"):
        train(run("sparse"), out=tmp_path / "sparse", progress=False)
    result = train(run("auto"), out=tmp_path / "auto", progress=False)
    assert "needs the compiled kernels" in result.engine["reason"]
    with pytest.raises(InvalidInput, match="cannot run on lists here"):
        train(run("auto"), out=tmp_path / "begun", resume=True, progress=False)


def test_a_gpu_takes_no_lists(run, monkeypatch):
    from sparsefield.train.ways import obstacle

    config, point = run("sparse").solved()
    assert obstacle(config, point, torch.device("cpu")) is None
    assert "device=cuda" in obstacle(config, point, torch.device("cuda"))


def test_a_damaged_file_of_choices(run, tmp_path, pays):
    (tmp_path / "engine.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"engine\.json: is damaged"):
        train(run("auto"), out=tmp_path, progress=False)


def state_at(step, config, out, interrupted):
    interrupted(step, config, out)
    digest = torch.load(out / "checkpoint", weights_only=True)["data_digest"]
    return load_checkpoint(out / "checkpoint", config.resolved(), digest)


@pytest.mark.parametrize("kind", ["adam", "sgd", "clipped"])
@pytest.mark.parametrize(("made", "read"), [("sparse", "dense"), ("dense", "sparse")])
def test_a_checkpoint_of_one_engine_is_read_by_the_other(
    run, tmp_path, interrupted, made, read, kind
):
    state = state_at(10, run(made, **KINDS[kind]), tmp_path / made, interrupted)
    seen = {}
    for engine in (made, read):
        solved = run(engine, **KINDS[kind]).solved()
        training = Training(*solved, Single(torch.device("cpu")), tmp_path, load("digits"))
        training.restore(copy.deepcopy(state))
        for _ in range(FIRST):
            training.advance()
        seen[engine] = float(training.tally)
        assert training.ways.told(training.step)["layers_on_lists"] == DEPTH * (engine == "sparse")
    assert seen[read] == pytest.approx(seen[made], rel=TOLERANCE)


def test_another_engine_is_another_run(run, tmp_path, interrupted):
    interrupted(5, run("sparse"), tmp_path)
    with pytest.raises(InvalidInput, match="engine=sparse there, dense here"):
        train(run("dense"), out=tmp_path, resume=True, progress=False)


def test_a_record_without_an_engine_was_dense(run, tmp_path):
    path = tmp_path / "config.yaml"
    lines = dump_config(run("auto").resolved()).splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("engine:")))
    assert load_config(path).engine == "dense"
    assert load_config(path, {"engine": "sparse"}).engine == "sparse"
    path.write_text("depth: 5\nseed: 3\nthreads: 1\n")  # by hand
    assert load_config(path).engine == TrainConfig().engine == "auto"


def test_a_sweep_fixes_its_engine():
    base = {"depth": 3, "width": 24}
    assert read_grid({"base": base}).runs[0].config.engine == "dense"
    assert read_grid({"base": {**base, "engine": "sparse"}}).runs[0].config.engine == "sparse"
    with pytest.raises(InvalidInput, match="engine=auto: .* give engine dense or sparse"):
        read_grid({"base": {**base, "engine": "auto"}})
