"""Runs trained as one network: each of them what it is alone."""

import math
import multiprocessing
import os
import random
import signal
import time

import numpy as np
import pytest
import torch

from sparsefield.errors import InvalidInput
from sparsefield.train import begun_together, load_model, read_run, train, train_together
from sparsefield.train.batches import Batches
from sparsefield.train.group import CHECKPOINT, Group
from sparsefield.train.training import Training

# Losses agree to rounding, seen at most 4e-7; a learning rate that is 1 % off is 50 times above.
TOLERANCE = 1e-5
SWEEP = (
    {"seed": 0, "q": 1.0, "lr": 0.1},
    {"seed": 1, "sparsity": 0.8, "lr": 0.05, "grad_clip": 0.5},
    {"seed": 2, "m": 1.5, "lr": 0.1, "head_gain": 1.0, "schedule": "constant", "momentum": 0.5},
)
KILLS = 5
DIVERGES = {"seed": 3, "lr": 1e30}


@pytest.fixture
def sweep(config):
    """The configs of a group, with changes that all of them have."""

    def runs(*extra, **shared):
        unclipped = shared.get("family") == "relu"
        members = [{**shared, **member} for member in (*SWEEP, *extra)]
        return [config(**{**m, "m": None if unclipped else m.get("m")}) for m in members]

    return runs


def directories(parent, runs):
    return [parent / str(index) for index in range(len(runs))]


def together(runs, parent, **options):
    return train_together(runs, directories(parent, runs), progress=False, **options)


def alone(runs, parent):
    for run, out in zip(runs, directories(parent, runs), strict=True):
        train(run, out=out, progress=False)


def records(parent, runs):
    return [read_run(out) for out in directories(parent, runs)]


def loss_errors(one, other):
    pairs = zip(one, other, strict=True)
    return [float(np.max(np.abs(a.metrics["loss"] / b.metrics["loss"] - 1))) for a, b in pairs]


@pytest.mark.parametrize(
    "shared",
    [
        {},
        {"optimizer": "adam", "lr": 2e-3, "skip": 0.5},
        {"optimizer": "adamw", "weight_decay": 0.1, "family": "crelu"},
        {"monitor_every": 0, "skip": 0.9},
    ],
    ids=["sgd", "adam", "adamw", "unwatched"],
)
def test_each_member_is_what_it_is_alone(sweep, tmp_path, shared):
    runs = sweep(epochs=1, log_every=3, **shared)
    if "optimizer" in shared:
        runs = [run.model_copy(update={"lr": run.lr / 50}) for run in runs]
    results = together(runs, tmp_path / "group")
    alone(runs, tmp_path / "alone")
    group, expected = records(tmp_path / "group", runs), records(tmp_path / "alone", runs)
    assert max(loss_errors(group, expected)) < TOLERANCE
    for run, one, other, result in zip(runs, group, expected, results, strict=True):
        assert one.config == other.config == run.resolved()
        assert one.result == result
        assert one.result.sparsity_init == other.result.sparsity_init  # the same initial weights
        assert one.result.data_digest == other.result.data_digest
        assert abs(one.result.test_accuracy - other.result.test_accuracy) < 0.02
        for name in ("step", "epoch", "lr"):
            assert np.array_equal(one.metrics[name], other.metrics[name])
        assert one.layers.keys() == other.layers.keys()
        for name, column in other.layers.items():
            assert one.layers[name] == pytest.approx(column, rel=2e-3, abs=2e-3, nan_ok=True)


def test_a_slightly_wrong_rate_of_one_member_is_noticed(sweep, tmp_path):
    runs = sweep(epochs=1, log_every=3)
    wrong = [*runs[:1], runs[1].model_copy(update={"lr": runs[1].lr * 1.01}), *runs[2:]]
    together(wrong, tmp_path / "group")
    alone(runs, tmp_path / "alone")
    errors = loss_errors(records(tmp_path / "group", runs), records(tmp_path / "alone", runs))
    assert errors[1] > 3 * TOLERANCE
    assert max(errors[0], errors[2]) < TOLERANCE


def test_initial_weights_and_the_order_of_the_data_are_those_of_each_run_alone(
    sweep, tmp_path, monkeypatch
):
    seen, begun = [], []
    at, begin = Batches.at, Training.evaluate

    def watching(batches, step):
        images, labels = at(batches, step)
        seen.append((step, images, labels))
        return images, labels

    def starting(training):
        if training.step == 0 and training.evaluated_at < 0:
            begun.append({name: p.clone() for name, p in training.model.named_parameters()})
        return begin(training)

    monkeypatch.setattr(Batches, "at", watching)
    monkeypatch.setattr(Training, "evaluate", starting)
    runs = sweep(epochs=2)
    together(runs, tmp_path / "group")
    group_seen, group_begun = seen.copy(), begun.copy()
    seen.clear()
    begun.clear()
    alone(runs, tmp_path / "alone")
    by_member = [batch for index in range(len(runs)) for batch in group_seen[index :: len(runs)]]
    for one, other in zip(by_member, seen, strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])
        assert torch.equal(one[2], other[2])
    for one, other in zip(group_begun, begun, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_member_leaves_the_directory_of_a_run(sweep, finished, tmp_path):
    runs = sweep()
    results = together(runs, tmp_path)
    for run, out, result in zip(runs, directories(tmp_path, runs), results, strict=True):
        assert {p.name for p in out.iterdir()} == {p.name for p in finished[1].iterdir()}
        assert result.hardware["together"] == len(runs)
        assert result.seconds > 0
        assert load_model(out).skip == run.skip
        assert train(run, out=out, resume=True, progress=False) == result
    assert not begun_together(directories(tmp_path, runs))
    assert together(runs, tmp_path, resume=True) == results


def test_the_checkpoint_of_a_member_resumes_alone(sweep, tmp_path):
    runs = sweep(optimizer="adam", monitor_every=0)
    together(runs, tmp_path)
    (tmp_path / "1" / "result.json").unlink()
    again = train(runs[1], out=tmp_path / "1", resume=True, progress=False)
    assert again.steps == read_run(tmp_path / "0").result.steps


def test_a_member_that_diverges_is_recorded_and_the_others_go_on(sweep, tmp_path):
    runs = sweep(DIVERGES, family="relu")
    results = together(runs, tmp_path / "group")
    alone(runs, tmp_path / "alone")
    group, expected = records(tmp_path / "group", runs), records(tmp_path / "alone", runs)
    assert [result.failed for result in results] == [False] * 3 + [True]
    assert results[-1].reason == expected[-1].result.reason
    assert "diverged; lower lr" in results[-1].reason
    assert results[-1].steps == expected[-1].result.steps < results[0].steps
    assert math.isnan(results[-1].train_loss)
    first = [int((run.metrics["step"] <= 14).sum()) for run in group[:-1]]
    for one, other, rows in zip(group, expected, first, strict=False):
        losses = one.metrics["loss"][:rows] / other.metrics["loss"][:rows]
        assert losses == pytest.approx(1.0, abs=TOLERANCE)
        assert len(one.metrics["loss"]) == len(other.metrics["loss"])


def test_all_members_diverge(config, tmp_path):
    runs = [config(family="relu", lr=1e30, seed=seed) for seed in range(2)]
    results = together(runs, tmp_path)
    assert all(result.failed for result in results)
    assert not begun_together(directories(tmp_path, runs))


def interrupt_after(monkeypatch, step):
    record = Group.record

    def recording(group, shown):
        record(group, shown)
        if group.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Group, "record", recording)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("step", [1, 7, 25])
def test_interrupted_and_resumed_ends_as_uninterrupted(
    sweep, tmp_path, monkeypatch, same_end, optimizer, step
):
    runs = sweep(DIVERGES, optimizer=optimizer, family="relu")
    together(runs, tmp_path / "whole")
    with monkeypatch.context() as patched:
        interrupt_after(patched, step)
        with pytest.raises(KeyboardInterrupt):
            together(runs, tmp_path / "parts")
    assert begun_together(directories(tmp_path / "parts", runs))
    together(runs, tmp_path / "parts", resume=True)
    assert ends_equal(runs, tmp_path, same_end)


def ends_equal(runs, tmp_path, same_end):
    pairs = zip(
        directories(tmp_path / "whole", runs), directories(tmp_path / "parts", runs), strict=True
    )
    return all(same_end(one, other) for one, other in pairs)


@pytest.mark.parametrize("lost", ["optimizer", "scheduler", "tally", "layers"])
def test_a_checkpoint_that_loses_a_part_of_a_member_ends_elsewhere(
    sweep, tmp_path, monkeypatch, same_end, lost
):
    runs = sweep()
    together(runs, tmp_path / "whole")
    state_of = Group.state

    def forgetful(group):
        state = state_of(group)
        held = state["states"][1]
        forgotten = {
            "optimizer": {**held["optimizer"], "state": {}},
            "scheduler": {**held["scheduler"], "last_epoch": 0},
            "tally": torch.zeros(()),
            "layers": [],
        }
        held[lost] = forgotten[lost]
        return state

    with monkeypatch.context() as patched:
        interrupt_after(patched, 20)
        patched.setattr(Group, "state", forgetful)
        with pytest.raises(KeyboardInterrupt):
            together(runs, tmp_path / "parts")
    together(runs, tmp_path / "parts", resume=True)
    assert not ends_equal(runs, tmp_path, same_end)


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    modules = ["sparsefield.train.together", "sklearn.datasets", "pyarrow.parquet"]
    context.set_forkserver_preload([*modules, "torch._dynamo", "pytest"])
    return context


def test_killed_at_random_moments_and_resumed_ends_as_uninterrupted(
    processes, sweep, tmp_path, same_end
):
    runs = sweep(DIVERGES, family="relu", checkpoint_every=0.0, epochs=4)
    parts = directories(tmp_path / "parts", runs)
    results = together(runs, tmp_path / "whole")
    longest = max(result.seconds for result in results) / (KILLS + 1)  # fast machine or slow
    moments, cut = random.Random(0), 0
    for _ in range(KILLS):
        arguments = {"resume": True, "progress": False}
        process = processes.Process(target=train_together, args=(runs, parts), kwargs=arguments)
        process.start()
        wait_for_checkpoint(parts[0] / CHECKPOINT, process)
        time.sleep(moments.uniform(0.0, longest))
        process.kill()
        process.join()
        cut += process.exitcode == -signal.SIGKILL
    assert cut > 1  # kills fell into the middle
    together(runs, tmp_path / "parts", resume=True)
    assert ends_equal(runs, tmp_path, same_end)
    assert not begun_together(parts)


def wait_for_checkpoint(path, process):
    """Until ``process`` has written a checkpoint, or has ended."""

    def written():
        try:
            return path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    before = written()
    while process.is_alive() and written() == before:
        time.sleep(0.002)


def test_runs_already_finished_are_left_as_they_are(sweep, tmp_path):
    runs = sweep(epochs=1)
    first = train(runs[0], out=tmp_path / "0", progress=False)
    results = together(runs, tmp_path, resume=True)
    assert results[0] == first
    assert results[1].hardware["together"] == 2


def test_a_run_begun_alone_is_not_taken_over(sweep, tmp_path):
    runs = sweep(epochs=1)
    train(runs[0], out=tmp_path / "0", progress=False)
    (tmp_path / "0" / "result.json").unlink()
    with pytest.raises(InvalidInput, match="0: holds a run that was begun alone; resume it alone"):
        together(runs, tmp_path, resume=True)


def begun(runs, parent, monkeypatch):
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            together(runs, parent)


def test_a_group_begun_is_resumed_only_as_it_was(sweep, tmp_path, monkeypatch):
    runs = sweep()
    outs = directories(tmp_path, runs)
    begun(runs, tmp_path, monkeypatch)
    with pytest.raises(InvalidInput, match="runs are training together there; resume"):
        together(runs, tmp_path)
    with pytest.raises(InvalidInput, match="runs are training together there; resume"):
        train_together(runs[::-1], outs[::-1], resume=True, progress=False)
    with pytest.raises(InvalidInput, match="is of 3 runs, 2 are given"):
        train_together(runs[:2], outs[:2], resume=True, progress=False)
    (outs[2] / "config.yaml").unlink()
    other = [*runs[:2], runs[2].model_copy(update={"lr": 0.3})]
    with pytest.raises(InvalidInput, match=r"of other runs \(one differs in lr\)"):
        train_together(other, outs, resume=True, progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 4}, "depth=3 and depth=4: these runs cannot train together"),
        ({"skip": 0.5}, "skip=0 and skip=0.5: these runs cannot train together"),
        ({"precision": "bf16"}, "precision=bf16: these runs cannot train together"),
    ],
)
def test_runs_of_two_kinds(config, tmp_path, changes, message):
    runs = [config(), config(**changes)]
    with pytest.raises(InvalidInput, match=message):
        together(runs, tmp_path / "group")
    assert not (tmp_path / "group").exists()


def test_directories_that_do_not_fit(sweep, tmp_path):
    runs = sweep()
    with pytest.raises(InvalidInput, match="3 configs and 1 directories: give one"):
        train_together(runs, [tmp_path], progress=False)
    with pytest.raises(InvalidInput, match="two runs have the same directory"):
        train_together(runs[:2], [tmp_path / "a", tmp_path / "b" / ".." / "a"], progress=False)


def test_several_processes(sweep, tmp_path, monkeypatch):
    from sparsefield.train import together as module

    class Two:
        world_size = 2

    monkeypatch.setattr(module, "start_runtime", lambda config: Two())
    with pytest.raises(InvalidInput, match="2 processes: runs train together in one"):
        together(sweep(), tmp_path)


def test_nothing_to_train():
    assert train_together([], []) == []


def test_progress_goes_to_stderr_one_line_an_epoch(sweep, tmp_path, capsys):
    runs = sweep()
    train_together(runs, directories(tmp_path, runs))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[1] for line in err.splitlines()] == ["1/2", "2/2"]


def test_no_global_state_is_changed(sweep, tmp_path):
    torch.manual_seed(7)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    together(sweep(threads=threads + 1, epochs=1), tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
