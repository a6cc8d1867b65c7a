"""SIGTERM ends a command as Ctrl-C does: checkpoints kept, workers gone, one line, exit 143."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from sparsefield import studies
from sparsefield.cli import main
from sparsefield.data import content
from sparsefield.train.atomic import exclusive
from sparsefield.train.checkpoint import load_checkpoint
from sparsefield.train.config import TrainConfig

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")
GO_ON = "; the same command again goes on where it was\n"
# Endless, with a checkpoint after every step: a signal falls into the work, however fast it is.
BASE = {
    "depth": 3,
    "width": 16,
    "sparsity": 0.7,
    "batch": 64,
    "steps": 10_000_000,
    "epochs": 1_000_000,
    "checkpoint_every": 0.0,
    "device": "cpu",
}


@pytest.fixture
def running(tmp_path):
    """A sweep of two endless runs, both of them in the midst of it."""
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"base": BASE, "grid": {"q": [1, 4]}}))
    command = [sys.executable, "-m", "sparsefield", "sweep", "a.yaml", "--jobs", "2"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while len(list(tmp_path.glob("sweeps/a/runs/*/checkpoint"))) < 2:
            assert process.poll() is None
            time.sleep(0.01)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def end(process, number, whole_group):
    """Send the signal, to the sweep or to all its processes; the exit code and what it said."""
    (os.killpg if whole_group else os.kill)(process.pid, number)
    said = process.communicate()[1]
    return process.returncode, said


@pytest.mark.parametrize(
    ("number", "whole_group", "code", "word"),
    [
        (signal.SIGTERM, False, 143, "terminated"),
        (signal.SIGTERM, True, 143, "terminated"),
        (signal.SIGINT, True, 130, "interrupted"),
    ],
)
def test_a_sweep_ends_and_can_go_on(running, tmp_path, number, whole_group, code, word):
    returned, said = end(running, number, whole_group)
    assert returned == code
    assert said == f"2 runs\nsparsefield: {word}{GO_ON}"
    for run in (tmp_path / "sweeps" / "a" / "runs").iterdir():
        with exclusive(run):  # no worker holds it any more
            pass
        config = yaml.safe_load((run / "config.yaml").read_text())
        state = load_checkpoint(run / "checkpoint", TrainConfig(**config), content("digits").digest)
        assert state["step"] > 0
        assert {path.name for path in run.iterdir()} == {"config.yaml", "checkpoint"}


@pytest.mark.parametrize("command", ["reproduce", "sweep"])
def test_the_line_and_the_exit_code(command, here, capsys, monkeypatch):
    def terminated(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)  # the handler does not let it

    from sparsefield import sweep as sweeps

    monkeypatch.setattr(studies, "reproduce", terminated)
    monkeypatch.setattr(sweeps, "sweep", terminated)
    before = signal.getsignal(signal.SIGTERM)
    assert main([command, "tiny"]) == 143
    assert capsys.readouterr().err == f"sparsefield: terminated{GO_ON}"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_handler_of_the_caller_is_left_alone(here, monkeypatch):
    seen = []
    monkeypatch.setattr(studies, "estimated", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        assert main(["reproduce", "tiny", "--dry-run"]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]
