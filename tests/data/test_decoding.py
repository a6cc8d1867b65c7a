"""What can be read, and how each thing that cannot be read is reported to the user."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from sparsefield.data import load
from sparsefield.errors import InvalidInput, MissingExtra

Writer = Callable[..., Path]
LABEL = datasets.ClassLabel(names=["a", "b"])


def rows(inputs: list[Any], labels: list[Any] | None = None) -> dict[str, list[Any]]:
    return {"image": inputs, "label": [0] * len(inputs) if labels is None else labels}


def image(mode: str = "L", size: tuple[int, int] = (4, 3)) -> Image.Image:
    return Image.new(mode, size)


def features(inputs: Any, label: Any = LABEL) -> datasets.Features:
    return datasets.Features({"image": inputs, "label": label})


def message(folder: Path) -> str:
    """Return the one line that a user sees on loading ``folder``."""
    with pytest.raises(InvalidInput) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# what can be read


def test_rgb_is_channels_first(write: Writer) -> None:
    color = Image.new("RGB", (4, 3), (10, 20, 30))
    data = load(write(train=rows([color]), test=rows([color])), normalise="none")
    assert data.train_x.shape == (1, 3, 3, 4)
    assert (data.train_x[0, :, 0, 0] * 255).round().tolist() == [10, 20, 30]


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("P", 3), ("RGB", 3)])
def test_image_modes(write: Writer, mode: str, channels: int) -> None:
    folder = write(train=rows([image(mode)]), test=rows([image(mode)]))
    assert load(folder).train_x.shape == (1, channels, 3, 4)


def test_more_rows_than_a_batch_keep_their_order(write: Writer) -> None:
    images = [Image.new("L", (1, 1), number % 256) for number in range(600)]
    data = load(write(train=rows(images), test=rows(images[:1])), normalise="none")
    assert (data.train_x.flatten() * 255).round().tolist() == [n % 256 for n in range(600)]


def test_validation_serves_as_test(write: Writer) -> None:
    assert len(load(write(train=rows([image()]), validation=rows([image()] * 2))).test_x) == 2


def test_test_comes_before_validation(write: Writer) -> None:
    folder = write(train=rows([image()]), validation=rows([image()] * 2), test=rows([image()] * 3))
    assert len(load(folder).test_x) == 3


def test_several_files_a_split(write: Writer) -> None:
    folder = write(train=rows([image()]), test=rows([image()]))
    first = folder / "data" / "train-00000-of-00001.parquet"
    first.with_name("train-00001-of-00002.parquet").write_bytes(first.read_bytes())
    first.rename(first.with_name("train-00000-of-00002.parquet"))
    assert len(load(folder).train_x) == 2


@pytest.mark.parametrize(
    ("feature", "shape", "expected"),
    [
        (datasets.Array3D((2, 3, 4), "float32"), (2, 3, 4), (2, 3, 4)),
        (datasets.Array2D((3, 4), "float64"), (3, 4), (1, 3, 4)),
        (datasets.Sequence(datasets.Value("float32")), (5,), (1, 1, 5)),
        (datasets.Sequence(datasets.Sequence(datasets.Value("int32"))), (3, 4), (1, 3, 4)),
    ],
)
def test_arrays_of_numbers(
    write: Writer, feature: Any, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    value = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 3
    split = rows([value.astype(int) if "int" in repr(feature) else value])
    data = load(write(features(feature), train=split, test=split), normalise="none")
    assert torch.equal(data.train_x, torch.from_numpy(value).view(1, *expected))


def test_uint8_arrays_are_pixels(write: Writer) -> None:
    split = rows([np.full((2, 2), 51, np.uint8)])
    folder = write(features(datasets.Array2D((2, 2), "uint8")), train=split, test=split)
    torch.testing.assert_close(
        load(folder, normalise="none").train_x, torch.full((1, 1, 2, 2), 0.2)
    )


def test_plain_parquet_with_integer_labels(tmp_path: Path) -> None:
    """Files that carry no feature types, as pandas and pyarrow write them."""
    table = pa.table({"pixels": [[0.5, 1.5], [2.5, 3.5]], "label": [0, 4]})
    for split in ("train", "test"):
        pq.write_table(table, tmp_path / f"{split}.parquet")
    data = load(tmp_path, normalise="none")
    assert data.train_x.flatten().tolist() == [0.5, 1.5, 2.5, 3.5]
    assert data.classes == 5


def test_first_class_label_is_taken(write: Writer) -> None:
    both = datasets.Features(
        {"img": datasets.Image(), "fine": datasets.ClassLabel(num_classes=5), "coarse": LABEL}
    )
    split = {"img": [image()], "fine": [4], "coarse": [1]}
    data = load(write(both, train=split, test=split))
    assert data.classes == 5
    assert data.train_y.tolist() == [4]


def test_nothing_is_left_behind(shapes: Path, tmp_path: Path, own_cache: Path) -> None:
    home = datasets.config.HF_DATASETS_CACHE
    before = sorted(Path(home).rglob("*")) if Path(home).exists() else []
    load(shapes)
    after = sorted(Path(home).rglob("*")) if Path(home).exists() else []
    assert after == before
    assert [path.suffix for path in own_cache.iterdir()] == [".safetensors"]


def test_progress_bars_come_back(shapes: Path) -> None:
    hidden = datasets.are_progress_bars_disabled()
    load(shapes)
    assert datasets.are_progress_bars_disabled() == hidden


# what cannot be read


def test_truncated_parquet(shapes: Path) -> None:
    path = next(shapes.rglob("train-*.parquet"))
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path} cannot be read" in message(shapes)
    assert message(shapes).endswith("fetch or write it again")


def test_parquet_damaged_in_the_middle(shapes: Path) -> None:
    path = next(shapes.rglob("train-*.parquet"))
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    assert "cannot be read" in message(shapes)


def test_failed_load_leaves_no_file(shapes: Path, own_cache: Path) -> None:
    test_parquet_damaged_in_the_middle(shapes)
    assert list(own_cache.iterdir()) == []


def test_damaged_image(write: Writer) -> None:
    broken = rows([{"bytes": b"\x89PNG not an image", "path": None}])
    folder = write(train=broken, test=rows([image()]))
    assert "rows 0 to 0 of split 'train'" in message(folder)
    assert "cannot be read" in message(folder)


def test_missing_split(write: Writer) -> None:
    assert "has splits train; a train split and a test" in message(write(train=rows([image()])))


def test_missing_train_split(write: Writer) -> None:
    folder = write(validation=rows([image()]), test=rows([image()]))
    assert "a train split and a test (or validation) split are needed" in message(folder)


def test_no_input_column(write: Writer) -> None:
    text = datasets.Features({"text": datasets.Value("string"), "label": LABEL})
    split = {"text": ["a"], "label": [0]}
    folder = write(text, train=split, test=split)
    assert "has columns text, label, none of them an image or an array" in message(folder)


def test_no_label_column(write: Writer) -> None:
    bare = datasets.Features({"image": datasets.Image(), "name": datasets.Value("string")})
    split = {"image": [image()], "name": ["a"]}
    folder = write(bare, train=split, test=split)
    assert "has columns image, name, none of them a label" in message(folder)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite(write: Writer, bad: float) -> None:
    good = np.zeros((2, 3))
    feature = features(datasets.Array2D((2, 3), "float64"))
    folder = write(feature, train=rows([good]), test=rows([good, good + bad]))
    assert "row 1 of split 'test'" in message(folder)
    assert "inputs must be finite float32 values" in message(folder)


@pytest.mark.parametrize("bad", [-1, 2, None])
def test_labels_out_of_range(tmp_path: Path, write: Writer, bad: int | None) -> None:
    folder = write(features(datasets.Image()), train=rows([image()] * 2), test=rows([image()]))
    path = next(folder.rglob("train-*.parquet"))
    table = pq.read_table(path)
    labels = pa.array([1, bad], pa.int64())
    pq.write_table(table.set_column(1, table.schema.field("label"), labels), path)
    text = message(folder)
    assert (
        f"row 1 of split 'train' of {str(folder)!r} has label {-1 if bad is None else bad}" in text
    )
    assert "labels must lie in 0 .. 1" in text


def test_test_label_that_training_never_has(tmp_path: Path) -> None:
    for split, label in (("train", 1), ("test", 2)):
        pq.write_table(pa.table({"x": [[1.0]], "label": [label]}), tmp_path / f"{split}.parquet")
    assert "split 'test'" in message(tmp_path)
    assert "labels must lie in 0 .. 1" in message(tmp_path)


def test_images_of_differing_sizes(write: Writer) -> None:
    folder = write(train=rows([image(), image(size=(4, 5))]), test=rows([image()]))
    assert "row 1 of split 'train'" in message(folder)
    assert "is 1x5x4 (channels x height x width) where the first is 1x3x4" in message(folder)


def test_grey_among_colour(write: Writer) -> None:
    folder = write(train=rows([image("RGB"), image("L")]), test=rows([image("RGB")]))
    assert "is 1x3x4 (channels x height x width) where the first is 3x3x4" in message(folder)


def test_test_images_of_another_size(write: Writer) -> None:
    folder = write(train=rows([image()]), test=rows([image(size=(2, 2))]))
    assert "split 'test'" in message(folder)
    assert "is 1x2x2" in message(folder)


def test_image_mode_that_is_not_8_bit(write: Writer) -> None:
    folder = write(train=rows([image("I;16")]), test=rows([image("I;16")]))
    assert "row 0 of split 'train'" in message(folder)
    assert "mode I;16; convert the images to 8-bit grey or RGB" in message(folder)


def test_missing_image(write: Writer) -> None:
    folder = write(train=rows([image(), None]), test=rows([image()]))
    assert "row 1 of split 'train'" in message(folder)
    assert "has no image" in message(folder)


def test_ragged_arrays(write: Writer) -> None:
    ragged = features(datasets.Sequence(datasets.Value("float32")))
    folder = write(ragged, train=rows([[1.0, 2.0], [1.0]]), test=rows([[1.0, 2.0]]))
    assert "is 1x1x1 (channels x height x width) where the first is 1x1x2" in message(folder)


def test_ragged_within_a_sample(write: Writer) -> None:
    ragged = features(datasets.Sequence(datasets.Sequence(datasets.Value("float32"))))
    split = rows([[[1.0, 2.0], [1.0]]])
    assert "no rectangular array" in message(write(ragged, train=split, test=split))


def test_too_many_axes(write: Writer) -> None:
    split = rows([np.zeros((1, 1, 1, 1), np.float32)])
    deep = features(datasets.Array4D((1, 1, 1, 1), "float32"))
    assert "has 4 axes" in message(write(deep, train=split, test=split))


def test_empty_split(write: Writer) -> None:
    # Some releases of datasets refuse an empty split themselves, in words of their own.
    assert re.search("has no rows|no data", message(write(train=rows([image()]), test=rows([]))))


def test_unreadable_file(shapes: Path) -> None:
    path = next(shapes.rglob("train-*.parquet"))
    path.unlink()
    path.symlink_to("gone.parquet")
    assert f"{path} cannot be read" in message(shapes)


def test_without_the_extra(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"datasets .* 'sparsefield\[data\]'"):
        load(shapes)


def test_numbers_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    """An id column read as labels would make a network of a billion outputs."""
    table = pa.table({"pixels": [[0.5], [2.5]], "label": [0, 10**9]})
    for split in ("train", "test"):
        pq.write_table(table, tmp_path / f"{split}.parquet")
    with pytest.raises(InvalidInput, match="label 1000000000 in 2 rows.*relabel"):
        load(tmp_path)
