"""A sweep that is killed again and again ends as the one that was left alone."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from sparsefield.experiments.sweep import read_plan, read_table, sweep
from sparsefield.experiments.sweep.folder import opened, waiting
from sparsefield.experiments.sweep.pieces import Piece, Pieces

KILLS = 5


def start(file, out, together):
    """The command, in a process group of its own."""
    command = [sys.executable, "-m", "sparsefield", "sweep", str(file), "--out", str(out)]
    flags = ["--jobs", "1", "--together", together, "--json"]
    return subprocess.Popen([*command, *flags], start_new_session=True)


def kill(process):
    """Kill the sweep and its workers at one blow; False if it had ended by itself."""
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def written(out):
    """When the records of all runs last changed."""
    found = [p.stat().st_mtime_ns for p in out.glob("runs/*/*") if not p.name.startswith(".")]
    return max(found, default=0)


def wait_for_work(out, process):
    before = written(out)
    while process.poll() is None and written(out) == before:
        time.sleep(0.005)


def table(out):
    """The rows, less the seconds."""
    return [{key: row[key] for key in row if key != "seconds"} for row in read_table(out)]


def settle_together(out, plan):
    """Begin the sweep with pieces that train together, whatever would be measured."""
    with opened(out, plan):
        Pieces([Piece(plan.runs[:4], True), Piece(plan.runs[4:], True)], out).write()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("together", "checkpoint", "kills", "steps"),
    [("never", "checkpoint", KILLS, 120), ("auto", "together", 3, 60)],
)
def test_killed_at_random_moments_and_resumed_the_table_is_the_same(
    small, tmp_path, together, checkpoint, kills, steps
):
    # a checkpoint after every step: runs are cut in two as well as left undone
    content = small(qs=(1, 2, 4, 8, 9), seeds=2, checkpoint_every=0.0, steps=steps)
    file, plan, parts = tmp_path / "a.yaml", read_plan(content), tmp_path / "parts"
    file.write_text(plan.text)
    if together == "auto":
        settle_together(tmp_path / "whole", plan)
        settle_together(parts, plan)
    whole = sweep(content, out=tmp_path / "whole", jobs=1, together=together, progress=False)
    # the kills leave some of the work undone, however fast this machine is
    longest = sum(row["seconds"] for row in whole.rows) / (kills + 1)
    moments, left, cut = random.Random(5), [len(plan.runs)], 0
    for number in range(kills):
        process = start(file, parts, together)
        if number:  # the first is killed while it starts
            wait_for_work(parts, process)
        time.sleep(moments.uniform(0.0, longest))
        assert kill(process), "the sweep ended before it could be killed: give it more steps"
        left.append(len(waiting(parts, plan)))
        cut += any(
            (parts / "runs" / run.name / checkpoint).exists() for run in waiting(parts, plan)
        )
        assert not list(parts.glob("runs/*/failed.json"))
    assert left == sorted(left, reverse=True)
    assert left[-1] > 0
    assert cut > 0  # at least one kill fell into the middle of a run
    sweep(content, out=parts, jobs=1, together=together, progress=False)
    assert table(parts) == table(tmp_path / "whole")
    assert [row["name"] for row in table(parts)] == [run.name for run in plan.runs]
    assert not list(parts.glob("**/*.part"))


def test_the_comparison_sees_one_digit(small, tmp_path):
    tables = []
    for rate in (0.1, 0.1001):
        out = tmp_path / str(rate)
        sweep(small(qs=(1,), lr=rate), out=out, jobs=1, progress=False)
        tables.append([{**row, "name": ""} for row in table(out)])
    assert tables[0] != tables[1]
