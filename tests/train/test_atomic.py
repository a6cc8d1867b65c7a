import errno
import subprocess
import sys

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.train.atomic import exclusive, remove_parts, write_bytes


def test_a_write_replaces_the_file(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"one")
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_and_leaves_the_old_file_and_nothing_aside(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InvalidInput, match="cannot be written .No space left on device.; free"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / ".checkpoint.part").write_bytes(b"half")
    (tmp_path / "checkpoint").write_bytes(b"whole")
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_directory_has_one_writer(tmp_path):
    out = tmp_path / "a" / "b"
    with (
        exclusive(out),
        pytest.raises(InvalidInput, match="another process trains there"),
        exclusive(out),
    ):
        pass
    with exclusive(out):
        pass


def test_nothing_is_left_of_the_lock(tmp_path):
    with exclusive(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_locked(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with (
        pytest.raises(InvalidInput, match="cannot be created or locked .Permission denied.; give"),
        exclusive(tmp_path),
    ):
        pass


def test_a_dead_writer_holds_nothing(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from sparsefield.train.atomic import exclusive\n"
        "with exclusive(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    with exclusive(tmp_path):
        pass


def test_a_file_in_the_place_of_the_directory(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInput, match="is a file; give"), exclusive(path):
            pass
