import errno
import subprocess
import sys

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.sweep.failure import Failure, raised, read_failure, write_failure
from sparsefield.sweep.folder import only_sweep, opened, place, waiting
from sparsefield.sweep.grid import read_grid


def test_a_directory_holds_its_file_as_given_and_expanded(tmp_path, small, grid):
    with opened(tmp_path / "a", grid):
        pass
    assert (tmp_path / "a" / "sweep.yaml").read_text() == grid.text
    assert '"q4-seed0": {' in (tmp_path / "a" / "plan.json").read_text()


def test_runs_may_be_added(tmp_path, small, grid):
    for content in (small(), small(qs=(2, 4, 1), seeds=2)):
        with opened(tmp_path, read_grid(content)):
            pass
    assert '"q2-seed1": {' in (tmp_path / "plan.json").read_text()


CHANGES = {
    "a value": ({"lr": 0.2}, "run q1-seed0 has lr=0.1 there, 0.2 here"),
    "a run less": ({"qs": (4,)}, "run q1-seed0 is not in the file"),
    "other seeds": ({"seeds": [3]}, "run q1-seed0 is not in the file"),
}


@pytest.mark.parametrize(("changes", "says"), CHANGES.values(), ids=CHANGES)
def test_a_changed_file_is_refused_and_changes_nothing(tmp_path, small, grid, changes, says):
    with opened(tmp_path, grid):
        pass
    held = (tmp_path / "plan.json").read_bytes()
    with pytest.raises(InvalidInput, match=says), opened(tmp_path, read_grid(small(**changes))):
        pass
    assert (tmp_path / "plan.json").read_bytes() == held
    assert (tmp_path / "sweep.yaml").read_text() == grid.text


def test_other_data_are_refused_and_change_nothing(tmp_path, grid):
    with opened(tmp_path, grid, {"digits": "a" * 64}):
        pass
    held = (tmp_path / "plan.json").read_bytes()
    other = {"digits": "b" * 64}
    says = "run q1-seed0 is on data digits .SHA-256 a{12}…., and data digits is b{12}… here"
    with pytest.raises(InvalidInput, match=says), opened(tmp_path, grid, other):
        pass
    assert (tmp_path / "plan.json").read_bytes() == held
    with opened(tmp_path, grid, {"digits": "a" * 64}):
        pass


def test_what_is_no_sweep_is_left_alone(tmp_path, grid):
    (tmp_path / "thesis.tex").write_text("")
    (tmp_path / "runs").mkdir()
    with pytest.raises(InvalidInput, match="holds thesis.tex and no sweep"), opened(tmp_path, grid):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "thesis.tex"]
    with (
        pytest.raises(InvalidInput, match="cannot be made a directory"),
        opened(tmp_path / "thesis.tex" / "a", grid),
    ):
        pass


def test_a_damaged_plan_is_one_line(tmp_path, grid):
    with opened(tmp_path, grid):
        pass
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InvalidInput, match="plan.json: is damaged"), opened(tmp_path, grid):
        pass


HOLD = """
import sys
from pathlib import Path
from sparsefield.sweep.folder import only_sweep, opened, place, waiting

with only_sweep(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_sweep_at_a_time_and_a_killed_one_holds_nothing(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InvalidInput, match="is held by another sweep"), only_sweep(tmp_path):
            pass
        other.kill()
    with only_sweep(tmp_path):
        pass


def test_in_one_process_too(tmp_path):
    with (
        only_sweep(tmp_path),
        pytest.raises(InvalidInput, match="is held by another sweep"),
        only_sweep(tmp_path),
    ):
        pass
    with only_sweep(tmp_path):
        pass


def test_the_lock_file_of_before_holds_nothing(tmp_path):
    for stale in ("", "?", "12345\n"):
        (tmp_path / ".lock").write_text(stale)
        with only_sweep(tmp_path):
            pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_one_line(tmp_path, monkeypatch, code):
    def no_locks(*_):
        raise OSError(code, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(InvalidInput, match="locked .No locks available"), only_sweep(tmp_path):
        pass


def test_failures_are_read_back_and_wait_for_nothing(tmp_path, grid):
    first, second = grid.runs
    write_failure(place(tmp_path, first), Failure("why", "raised"))
    assert read_failure(place(tmp_path, first)) == Failure("why", "raised", 1)
    assert read_failure(place(tmp_path, second)) is None
    assert waiting(tmp_path, grid) == [second]


def test_a_damaged_failure_is_one_line(tmp_path):
    (tmp_path / "failed.json").write_text('{"reason": ')
    with pytest.raises(InvalidInput, match="failed.json: is damaged"):
        read_failure(tmp_path)


def test_a_reason_is_one_line_that_says_nothing_of_places(tmp_path):
    run = tmp_path / "q1"
    assert raised(InvalidInput(f"{run}: is\nbad"), run) == Failure("q1: is bad", "raised")
    assert raised(RuntimeError(""), run).reason == "RuntimeError: RuntimeError"
