"""From a directory in the hub's layout to tensors, read by Hugging Face ``datasets``."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsefield.data.columns import Columns, find_columns
from sparsefield.data.dataset import Decoded
from sparsefield.data.values import (
    check_compact,
    check_finite,
    check_labels,
    check_same_size,
    first_line,
    read_value,
)
from sparsefield.errors import InvalidInput, require

BATCH = 256  # rows decoded at a time
PIXEL_MAX = 255.0


def parquet_files(folder: Path) -> list[Path]:
    """Return the parquet files below ``folder``; :class:`InvalidInput` if there is none."""
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise InvalidInput(
            f"directory {str(folder)!r} holds no parquet file; "
            "give a directory in the hub's layout (train-*.parquet, test-*.parquet)"
        )
    return files


def content_key(folder: Path) -> str:
    """SHA-256 of the files below ``folder`` that decide what is decoded: names and bytes."""
    digest = hashlib.sha256()
    for path in [*parquet_files(folder), *folder.glob("README.md")]:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n".encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise damaged(str(path), error) from error


def decode(folder: Path, workspace: Path) -> Decoded:
    """Decode the directory ``folder``; scratch files lie in ``workspace`` while it lasts.

    Raises :class:`InvalidInput` for a damaged file, a missing split or column, images of
    several sizes, labels out of range, and values that are not finite.
    """
    datasets = require("datasets", "data")
    require("PIL", "data")
    check_files(folder)
    with tempfile.TemporaryDirectory(dir=workspace, prefix=".decode-") as scratch:
        splits = read_splits(datasets, folder, scratch)
        names = train_and_test(splits, folder)
        columns = find_columns(datasets, splits["train"].features, folder)
        places = [f"split {name!r} of {str(folder)!r}" for name in names]
        train_x, train_y = read_rows(splits[names[0]], columns, places[0])
        test_x, test_y = read_rows(splits[names[1]], columns, places[1])
    check_same_size(test_x[0], train_x[0], places[1])
    classes = columns.classes or int(train_y.max()) + 1
    if columns.classes is None:
        check_compact(classes, len(train_y), places[0])
    check_labels(train_y, classes, places[0])
    check_labels(test_y, classes, places[1])
    return Decoded(
        train_x=torch.from_numpy(train_x),
        train_y=torch.from_numpy(train_y),
        test_x=torch.from_numpy(test_x),
        test_y=torch.from_numpy(test_y),
        classes=classes,
        scale=PIXEL_MAX if columns.pixels else 1.0,
    )


def check_files(folder: Path) -> None:
    """Read each file's footer, so that a truncated file is named."""
    parquet = require("pyarrow.parquet", "data")
    for path in parquet_files(folder):
        try:
            parquet.read_metadata(path)
        except Exception as error:
            raise damaged(str(path), error) from error


def read_splits(datasets: ModuleType, folder: Path, scratch: str) -> Any:
    """Open the splits of ``folder`` with ``datasets``, leaving nothing in the user's cache."""
    try:
        with quiet(datasets):
            return datasets.load_dataset(str(folder.resolve()), cache_dir=scratch)
    except Exception as error:  # datasets wraps readers' errors in kinds of its own
        raise damaged(str(folder), error.__cause__ or error) from error


@contextmanager
def quiet(datasets: ModuleType) -> Iterator[None]:
    """Hide the progress bars of ``datasets`` for a while."""
    hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            datasets.enable_progress_bars()


def train_and_test(splits: Any, folder: Path) -> tuple[str, str]:
    """Return the names of the training and the test split; validation serves as test."""
    test = next((name for name in ("test", "validation") if name in splits), None)
    if "train" not in splits or test is None:
        raise InvalidInput(
            f"directory {str(folder)!r} has splits {', '.join(splits)}; a train split and a test "
            "(or validation) split are needed: name the files train-*.parquet and test-*.parquet"
        )
    return "train", test


def read_rows(rows: Any, columns: Columns, where: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Decode every row of a split: inputs [n, C, H, W] uint8 or float32, and labels [n]."""
    if not len(rows):
        raise InvalidInput(f"{where} has no rows; give a split with at least one")
    labels = np.empty(len(rows), dtype=np.int64)
    inputs: NDArray[Any] | None = None
    for start, batch in batches(rows, columns, where):
        for row, (value, label) in enumerate(
            zip(batch[columns.inputs], batch[columns.labels], strict=True), start
        ):
            array = read_value(value, columns, f"row {row} of {where}")
            if inputs is None:
                inputs = np.empty((len(rows), *array.shape), dtype=array.dtype)
            check_same_size(array, inputs[0], f"row {row} of {where}")
            inputs[row] = array
            labels[row] = -1 if label is None else label
    assert inputs is not None
    check_finite(inputs, where)
    return inputs, labels


def batches(rows: Any, columns: Columns, where: str) -> Iterator[tuple[int, Any]]:
    """Yield the number of the first row and the columns of each batch."""
    chosen = rows.select_columns([columns.inputs, columns.labels])
    supply = chosen.iter(batch_size=BATCH)
    for start in range(0, len(rows), BATCH):
        try:
            batch = next(supply)
        except Exception as error:
            end = min(start + BATCH, len(rows)) - 1
            raise damaged(f"rows {start} to {end} of {where}", error) from error
        yield start, batch


def damaged(what: str, error: BaseException) -> InvalidInput:
    """Say that something could not be read."""
    return InvalidInput(f"{what} cannot be read ({first_line(error)}); fetch or write it again")
