"""One row's input as an array, and the rules that inputs and labels keep."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefield.data.columns import Columns
from sparsefield.errors import InvalidInput

MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}  # image modes that 8-bit pixels hold exactly


def read_value(value: Any, columns: Columns, where: str) -> NDArray[Any]:
    """Return one input as an array [C, H, W], uint8 or float32."""
    if value is None:
        raise InvalidInput(f"{where} has no {columns.inputs}; remove the row")
    return image_pixels(value, where) if columns.images else numbers(value, columns, where)


def image_pixels(image: Any, where: str) -> NDArray[np.uint8]:
    """Return the pixels [C, H, W] of an 8-bit image."""
    mode = MODES.get(image.mode)
    if mode is None:
        raise InvalidInput(
            f"{where} has an image of mode {image.mode}; convert the images to 8-bit grey or RGB"
        )
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)


def numbers(value: Any, columns: Columns, where: str) -> NDArray[Any]:
    """Return an array of one to three axes as [C, H, W]: missing leading axes have length 1."""
    try:
        # A value beyond float32 becomes infinite here and is reported as such.
        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype=np.uint8 if columns.pixels else np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{where} has no rectangular array of numbers in {columns.inputs!r} "
            f"({first_line(error)}); give every sample the same shape"
        ) from error
    if array.ndim > 3:
        raise InvalidInput(f"{where} has {array.ndim} axes; give [C, H, W], [H, W] or [features]")
    return array.reshape((1,) * (3 - array.ndim) + array.shape)


def check_finite(inputs: NDArray[Any], where: str) -> None:
    """Raise unless every value is finite."""
    if inputs.dtype == np.uint8:
        return
    for row, array in enumerate(inputs):
        if not np.isfinite(array).all():
            bad = array[~np.isfinite(array)][0]
            raise InvalidInput(
                f"row {row} of {where} holds {bad}; inputs must be finite float32 values: "
                "remove or repair the row"
            )


def check_labels(labels: NDArray[np.int64], classes: int, where: str) -> None:
    """Raise unless every label lies in 0 .. ``classes`` - 1."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise InvalidInput(
            f"row {wrong[0]} of {where} has label {labels[wrong[0]]}; labels must lie in "
            f"0 .. {classes - 1}: remove or relabel the row (a missing label reads as -1)"
        )


def check_compact(classes: int, rows: int, where: str) -> None:
    """Raise if labels without names are so sparse that they cannot be class numbers."""
    if classes > 100 * rows:
        raise InvalidInput(
            f"{where} has a label {classes - 1} in {rows} rows; labels must be class numbers from "
            "0: relabel them 0, 1, 2 ..."
        )


def check_same_size(array: NDArray[Any], first: NDArray[Any], where: str) -> None:
    """Raise unless ``array`` has the shape of ``first``."""
    if array.shape != first.shape:
        size, rule = ("x".join(map(str, shape)) for shape in (array.shape, first.shape))
        raise InvalidInput(
            f"{where} is {size} (channels x height x width) where the first is {rule}; "
            "bring all to one size"
        )


def first_line(error: BaseException) -> str:
    """Return the first line of what ``error`` says, for a message of one line."""
    return (str(error) or type(error).__name__).strip().splitlines()[0]
