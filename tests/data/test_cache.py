from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sparsefield.data import load
from sparsefield.data.cache import cache_folder, recall, replacing, store
from sparsefield.data.dataset import Decoded
from sparsefield.errors import InvalidInput


def decoded(value: int = 7) -> Decoded:
    x = torch.full((3, 1, 2, 2), value, dtype=torch.uint8)
    y = torch.tensor([0, 1, 0])
    return Decoded(x, y, x[:1].clone(), y[:1].clone(), classes=2, scale=255.0)


def stored_file(cache: Path) -> Path:
    (path,) = cache.glob("*.safetensors")
    return path


def test_store_and_recall(tmp_path: Path) -> None:
    store(tmp_path / "new" / "folder", "key", decoded())
    found = recall(tmp_path / "new" / "folder", "key")
    assert found is not None
    assert found.digest == decoded().digest
    assert (found.classes, found.scale) == (2, 255.0)
    assert torch.equal(found.train_x, decoded().train_x)


def test_absent(tmp_path: Path) -> None:
    assert recall(tmp_path, "key") is None
    assert recall(tmp_path / "nowhere", "key") is None


def test_another_format_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path, "key", decoded())
    monkeypatch.setattr("sparsefield.data.cache.FORMAT", "another")
    assert recall(tmp_path, "key") is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text", "header"])
def test_damaged_cache_file_is_rebuilt(shapes: Path, own_cache: Path, damage: str) -> None:
    before = load(shapes)
    path = stored_file(own_cache)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
    changed = {
        "truncate": content[:-5],
        "flip": content,
        "empty": b"",
        "text": b"not tensors",
        "header": content[:8] + b"{" * 20 + content[28:],
    }[damage]
    path.write_bytes(changed)
    assert recall(own_cache, path.stem) is None
    assert torch.equal(load(shapes).train_x, before.train_x)
    rebuilt = recall(own_cache, path.stem)
    assert rebuilt is not None
    assert rebuilt.digest == before.digest


def test_the_cache_argument_comes_first(shapes: Path, tmp_path: Path, own_cache: Path) -> None:
    load(shapes, cache=tmp_path / "mine")
    assert stored_file(tmp_path / "mine").exists()
    assert not own_cache.exists()


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder("~/x") == Path.home() / "x"
    assert cache_folder(None) == tmp_path / "cache"
    monkeypatch.delenv("SPARSEFIELD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / "sparsefield"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder(None) == Path.home() / ".cache" / "sparsefield"


def test_cache_that_cannot_be_written(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidInput, match="cannot be written .* set SPARSEFIELD_CACHE") as caught:
        load(shapes, cache=tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:  # noqa: PT012
        part.write_text("half")
        raise KeyboardInterrupt
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("file", "old")]


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o755, 0o644), (0o700, 0o600)])
def test_files_are_as_readable_as_their_folder(
    shapes: Path, own_cache: Path, folder_mode: int, file_mode: int
) -> None:
    own_cache.mkdir()
    own_cache.chmod(folder_mode)
    load(shapes)
    assert stored_file(own_cache).stat().st_mode & 0o777 == file_mode


LOAD = "import sys; from sparsefield.data import load; print(load(sys.argv[1]).digest)"


def test_two_processes_at_once(shapes: Path, own_cache: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(shapes)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert {error for _, error in outputs} == {""}
    assert {digest.strip() for digest, _ in outputs} == {load(shapes).digest}
    assert [path.suffix for path in own_cache.iterdir()] == [".safetensors"]
