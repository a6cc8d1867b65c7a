from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparsefield.data import Dataset, content, load, shared_name
from sparsefield.data.digits import fifth_of_each_class
from sparsefield.errors import InvalidInput, MissingExtra


def test_digits_shapes_and_split() -> None:
    data = load("digits", normalise="none")
    assert data.train_x.shape[1:] == data.test_x.shape[1:] == (1, 8, 8)
    assert len(data.train_x) + len(data.test_x) == 1797
    assert data.train_x.min() == 0
    assert data.train_x.max() == 1
    assert data.classes == 10
    counts = torch.bincount(data.train_y) + torch.bincount(data.test_y)
    assert torch.equal(torch.bincount(data.test_y), counts // 5)


def test_digits_split_shares_no_image() -> None:
    data = load("digits", normalise="none")
    train = {x.numpy().tobytes() for x in data.train_x}
    assert not any(x.numpy().tobytes() in train for x in data.test_x)


def test_digits_are_the_same_each_time() -> None:
    one, other = load("digits"), load("digits")
    assert one.digest == other.digest
    assert torch.equal(one.train_x, other.train_x)
    assert one.train_y is not other.train_y


def test_fifth_of_each_class() -> None:
    labels = np.array([0] * 5 + [1] * 11)
    assert list(np.flatnonzero(fifth_of_each_class(labels))) == [4, 9, 14]


def test_digits_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtra, match=r"sklearn.datasets .* 'sparsefield\[data\]'"):
        load("digits")


def test_directory(shapes: Path) -> None:
    data = load(shapes, normalise="none")
    assert isinstance(data, Dataset)
    assert data.train_x.shape == (7, 1, 5, 4)
    assert data.test_x.shape == (4, 1, 5, 4)
    assert data.train_x.dtype == data.test_x.dtype == torch.float32
    assert data.train_y.dtype == data.test_y.dtype == torch.int64
    assert data.test_y.tolist() == [2, 1, 0, 1]
    assert data.classes == 3
    assert data.normalise == "none"


def test_pixels_are_exact(shapes: Path) -> None:
    rng = np.random.default_rng(1)
    first = rng.integers(0, 256, (5, 4), np.uint8)
    stored = load(shapes, normalise="none").train_x[0, 0] * 255
    np.testing.assert_array_equal(stored.round().numpy(), first)


def test_relative_and_home_paths(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shapes.parent)
    monkeypatch.setenv("HOME", str(shapes.parent))
    digests = {load(name).digest for name in (str(shapes), "shapes", "./shapes", "~/shapes")}
    assert len(digests) == 1


def test_provided_folder_comes_before_the_hub(
    shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes.rename(shapes.with_name("mnist"))
    monkeypatch.setenv("SPARSEFIELD_DATA", str(shapes.parent))
    assert load("mnist").train_x.shape == (7, 1, 5, 4)


def test_provided_folder_serves_hub_names(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shapes.parent / "owner").mkdir()
    shapes.rename(shapes.parent / "owner" / "name")
    monkeypatch.setenv("SPARSEFIELD_DATA", str(shapes.parent))
    assert load("owner/name").classes == 3


def test_provided_folder_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEFIELD_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match=r"SPARSEFIELD_DATA='.*nowhere' is not a directory; set"):
        load("mnist")


@pytest.mark.parametrize("name", ["mnits", "", "./nowhere", "/no/such/directory", "a/b/c", "a b/c"])
def test_unknown_name(name: str) -> None:
    with pytest.raises(InvalidInput, match="unknown dataset .* check the spelling") as caught:
        load(name)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_directory_without_parquet(tmp_path: Path) -> None:
    Image.new("L", (3, 3)).save(tmp_path / "one.png")
    with pytest.raises(InvalidInput, match="holds no parquet file; give a directory"):
        load(tmp_path)


def test_digest_follows_content_and_not_place(shapes: Path) -> None:
    before = load(shapes).digest
    moved = shapes.rename(shapes.with_name("moved"))
    assert load(moved).digest == before
    assert load(moved, normalise="none").digest == before


def test_digest_changes_with_one_pixel_or_label(write: Callable[..., Path]) -> None:
    def digest(name: str, pixel: int, label: int) -> str:
        images = [Image.new("L", (3, 3), color) for color in (0, pixel)]
        split = {"image": images, "label": [0, label]}
        return load(write(name=name, train=split, test=split)).digest

    digests = {digest("a", 9, 1), digest("b", 8, 1), digest("c", 9, 2), digest("d", 9, 1)}
    assert len(digests) == 3


def test_second_start_decodes_nothing(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(shapes)
    monkeypatch.setattr("sparsefield.data.loading.decode", None)
    second = load(shapes)
    assert torch.equal(first.train_x, second.train_x)
    assert torch.equal(first.test_y, second.test_y)


def test_changed_file_is_decoded_again(write: Callable[..., Path]) -> None:
    def split(color: int) -> dict[str, list[object]]:
        return {"image": [Image.new("L", (3, 3), color)], "label": [0]}

    before = load(write(train=split(1), test=split(1)), normalise="none")
    after = load(write(train=split(2), test=split(1)), normalise="none")
    assert after.train_x.sum() == 2 * before.train_x.sum()


SECOND_START = """
import json, sys
from sparsefield.data import load
data = load(sys.argv[1])
heavy = [name for name in ("datasets", "PIL", "pyarrow", "huggingface_hub", "sklearn")
         if name in sys.modules]
print(json.dumps({"digest": data.digest, "heavy": heavy}))
"""


def test_second_start_needs_no_decoding_library(shapes: Path) -> None:
    digest = load(shapes).digest
    done = subprocess.run(
        [sys.executable, "-c", SECOND_START, str(shapes)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"digest": digest, "heavy": []}
    assert done.stderr == ""


def test_content_is_that_of_what_is_loaded(shapes: Path) -> None:
    for name in ("digits", str(shapes)):
        data = load(name)
        assert (content(name).digest, content(name).samples) == (data.digest, len(data.train_y))
    assert content("digits").digest != content(str(shapes)).digest


def test_a_shared_name_is_a_hub_name_or_that_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "mnist").mkdir(parents=True)
    for name, shared in {
        "mnist": "mnist",
        "nobody/has-this": "nobody/has-this",
        "owner/mnist": "mnist",  # a folder here, and not the hub's
        str(tmp_path / "owner" / "mnist"): "mnist",
        "./owner/mnist": "mnist",
        "owner/mnist/": "mnist",
        ".": tmp_path.name,
        "owner/..": tmp_path.name,
    }.items():
        assert shared_name(name) == shared
    monkeypatch.setenv("SPARSEFIELD_DATA", str(tmp_path))  # now it stands for the hub's
    assert shared_name("owner/mnist") == "owner/mnist"
