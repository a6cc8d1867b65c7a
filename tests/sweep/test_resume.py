"""A sweep that is killed again and again ends as the one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from sparsefield.sweep import place, read_grid, read_table, sweep
from sparsefield.sweep.folder import waiting

KILLS = 5


# Forks the command again and again from one process that has imported the library; a worker is
# forked from its sweep, not from a server, so that one blow meets both. What runs anew is as a user
# starts it.
SERVER = """
import importlib, json, multiprocessing, os, sys
from sparsefield.cli import main
from sparsefield.sweep import processes

for name in processes._IMPORTED:
    importlib.import_module(name)
processes._context = lambda: multiprocessing.get_context("fork")
processes._start_server = lambda: None
for line in sys.stdin:
    anew, command = json.loads(line)
    pid = os.fork()
    if not pid:
        os.setsid()
        print(os.getpid(), flush=True)
        os.dup2(2, 1)
        if anew:
            os.execv(sys.executable, [sys.executable, "-m", "sparsefield", *command])
        sys.exit(main(command))
    print(os.waitpid(pid, 0)[1], flush=True)
"""


class Sweeps:
    """Sweeps one after the other, each in a process group of its own."""

    def __init__(self):
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # none that a fork would wait for
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *command, anew):
        print(json.dumps([anew, command]), file=self._server.stdin, flush=True)
        self._pid = self._said()

    def alive(self):
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self):
        """Kill the sweep and its workers at one blow; False if it had ended by itself."""
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        return self._said() == signal.SIGKILL

    def end(self):
        self._server.communicate()

    def _said(self):
        return int(self._server.stdout.readline())


@pytest.fixture(scope="module")
def sweeps():
    found = Sweeps()
    yield found
    found.end()


def written(out):
    """When the records of all runs last changed."""
    found = [p.stat().st_mtime_ns for p in out.glob("runs/*/*") if not p.name.startswith(".")]
    return max(found, default=0)


def wait_for_work(out, sweeps):
    before = written(out)
    while sweeps.alive() and written(out) == before:
        time.sleep(0.005)


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_the_table_is_the_same(sweeps, small, tmp_path, table):
    # a checkpoint after every step: runs are cut in two as well as left undone
    content = small(qs=(1, 2, 4, 8, 9), seeds=2, checkpoint_every=0.0, steps=120)
    file, grid, parts = tmp_path / "a.yaml", read_grid(content), tmp_path / "parts"
    file.write_text(grid.text)
    whole = sweep(content, out=tmp_path / "whole", jobs=1, progress=False)
    # the kills leave some of the work undone, were the machine three times as fast from here on
    longest = sum(row["seconds"] for row in whole.rows) / (3 * KILLS)
    moments, left, cut = random.Random(5), [len(grid.runs)], 0
    for number in range(KILLS):
        flags = ["--jobs", "1", "--json"]
        sweeps.start("sweep", str(file), "--out", str(parts), *flags, anew=number < 2)
        if number:  # the first is killed while it starts
            wait_for_work(parts, sweeps)
        time.sleep(moments.uniform(0.0, longest))
        assert sweeps.kill(), "the sweep ended before it could be killed: give it more steps"
        undone = waiting(parts, grid)
        left.append(len(undone))
        cut += any((place(parts, run) / "checkpoint").exists() for run in undone)
        assert not list(parts.glob("runs/*/failed.json"))
    assert left == sorted(left, reverse=True)
    assert left[-1] > 0
    assert cut > 0  # at least one kill fell into the middle of a run
    sweep(content, out=parts, jobs=1, progress=False)
    assert table(read_table(parts)) == table(whole.rows)
    assert [row["name"] for row in read_table(parts)] == [run.name for run in grid.runs]
    assert not list(parts.glob("**/*.part"))


def test_the_comparison_sees_one_digit(small, tmp_path, table):
    tables = []
    for rate in (0.1, 0.1001):
        out = tmp_path / str(rate)
        found = sweep(small(qs=(1,), lr=rate), out=out, jobs=1, progress=False)
        tables.append([{**row, "name": ""} for row in table(found.rows)])
    assert tables[0] != tables[1]
