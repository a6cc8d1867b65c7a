"""A run that was interrupted or killed ends bit for bit as the one that was not."""

import multiprocessing
import random
import signal
import time

import pytest
import torch

from sparsefield.train import read_run, train
from sparsefield.train.checkpoint import load_checkpoint, save_checkpoint

KILLS = 9


@pytest.fixture(scope="module")
def processes():
    """Real processes, forked from a server that has imported the library once."""
    context = multiprocessing.get_context("forkserver")
    modules = ["sparsefield.train.loop", "sklearn.datasets", "pyarrow.parquet", "torch._dynamo"]
    context.set_forkserver_preload([*modules, "pytest"])
    return context


def interrupted(config, out, interrupted_after, step):
    interrupted_after(config, out, step)
    return load_checkpoint(out / "checkpoint", config.resolved(), digest(out))


def digest(out):
    return torch.load(out / "checkpoint", weights_only=True)["data_digest"]


RIVALS = [
    {"optimizer": "adam", "family": "topk"},
    {"optimizer": "adam", "family": "relu", "penalty": "hoyer", "penalty_weight": 1.0},
    {"optimizer": "adam", "hold": 0.9, "skip": 0.5},
    {"optimizer": "adam", "hold": 0.9, "engine": "sparse"},
]


@pytest.mark.parametrize("kind", [{"optimizer": "sgd"}, {"optimizer": "adamw"}, *RIVALS])
@pytest.mark.parametrize("step", [1, 20, 22])
def test_interrupted_and_resumed_ends_as_uninterrupted(
    config, tmp_path, interrupted_after, same_end, kind, step
):
    run = config(lr=5e-3, **kind)
    train(run, out=tmp_path / "whole", progress=False)
    assert interrupted(run, tmp_path / "parts", interrupted_after, step)["step"] == step
    assert not (tmp_path / "parts" / "result.json").exists()
    train(run, out=tmp_path / "parts", resume=True, progress=False)
    assert same_end(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("engine", ["dense", "sparse"])
def test_a_checkpoint_that_loses_what_is_held_ends_elsewhere(
    config, tmp_path, interrupted_after, same_end, engine
):
    run = config(lr=5e-3, optimizer="adam", hold=0.9, skip=0.5, engine=engine)
    train(run, out=tmp_path / "whole", progress=False)
    state = interrupted(run, tmp_path / "parts", interrupted_after, 20)
    save_checkpoint(
        tmp_path / "parts" / "checkpoint",
        run.resolved(),
        digest(tmp_path / "parts"),
        {**state, "hold": None},
    )
    train(run, out=tmp_path / "parts", resume=True, progress=False)
    assert not same_end(tmp_path / "whole", tmp_path / "parts")


def test_seconds_of_all_parts_are_counted(config, tmp_path, interrupted_after):
    before = interrupted(config(), tmp_path, interrupted_after, 20)["seconds"]
    assert train(config(), out=tmp_path, resume=True, progress=False).seconds > before


@pytest.mark.parametrize("lost", ["optimizer", "scheduler", "tally", "layers"])
def test_a_checkpoint_that_loses_a_part_ends_elsewhere(
    finished, config, tmp_path, interrupted_after, same_end, lost
):
    state = interrupted(config(), tmp_path, interrupted_after, 20)
    forgotten = {
        "optimizer": {**state["optimizer"], "state": {}},
        "scheduler": {**state["scheduler"], "last_epoch": 0},
        "tally": torch.zeros(()),
        "layers": [],
    }
    state[lost] = forgotten[lost]
    save_checkpoint(tmp_path / "checkpoint", config().resolved(), digest(tmp_path), state)
    train(config(), out=tmp_path, resume=True, progress=False)
    assert not same_end(finished[1], tmp_path)


def test_the_handlers_of_signals_come_back(config, tmp_path, interrupted_after):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(config(epochs=1), out=tmp_path / "whole", progress=False)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    interrupted(config(), tmp_path / "parts", interrupted_after, 3)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_interruption_says_what_to_do(config, tmp_path, interrupt_at, capsys):
    interrupt_at(3)
    with pytest.raises(KeyboardInterrupt):
        train(config(), out=tmp_path)
    assert "interrupted after step 3; resume goes on from there" in capsys.readouterr().err


def start(processes, config, out):
    process = processes.Process(
        target=train, args=(config,), kwargs={"out": out, "resume": True, "progress": False}
    )
    process.start()
    return process


def test_termination_saves_a_checkpoint_and_ends_the_process(processes, config, tmp_path):
    run = config(epochs=1_000_000, checkpoint_every=0.2)
    process = start(processes, run, tmp_path)
    wait_for_checkpoint(tmp_path, process)
    process.terminate()
    process.join(300)
    assert process.exitcode == -signal.SIGTERM
    assert not (tmp_path / "result.json").exists()
    assert step_of(tmp_path, run) > 0


def test_killed_at_random_moments_and_resumed_ends_as_uninterrupted(
    processes, config, tmp_path, same_end
):
    run = config(epochs=20, checkpoint_every=0.0, batch=96)  # a checkpoint after every step
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    longest = train(run, out=whole, progress=False).seconds / KILLS  # fast machine or slow
    moments, steps = random.Random(0), [0]
    for kill in range(KILLS):
        process = start(processes, run, parts)
        if kill % 3:  # every third is killed while it starts
            wait_for_checkpoint(parts, process)
        time.sleep(moments.uniform(0.0, longest))
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        steps.append(step_of(parts, run))
        assert not (parts / "result.json").exists() or read_run(parts).result.steps == 300
    assert steps == sorted(steps)
    assert len(set(steps)) > 3  # several began where a killed one had been
    train(run, out=parts, resume=True, progress=False)
    assert same_end(whole, parts)
    assert not list(parts.glob(".*"))


def wait_for_checkpoint(out, process):
    """Until ``process`` has written a checkpoint, or has ended."""
    before = written(out)
    while process.is_alive() and written(out) == before:
        time.sleep(0.002)


def step_of(out, config):
    """The step of the checkpoint, which must be whole whenever there is one; 0 if there is none."""
    if not (out / "checkpoint").exists():
        return 0
    return load_checkpoint(out / "checkpoint", config.resolved(), digest(out))["step"]


def written(out):
    path = out / "checkpoint"
    return path.stat().st_mtime_ns if path.exists() else 0
