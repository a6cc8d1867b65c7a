"""Which columns of a dataset hold its inputs and labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from sparsefield.errors import InvalidInput

LABEL = "label"


@dataclass(frozen=True)
class Columns:
    """Which columns hold inputs and labels, and how to read them.

    Attributes
    ----------
    inputs, labels : str
        Column names.
    images : bool
        Whether the inputs are encoded images rather than arrays of numbers.
    pixels : bool
        Whether the inputs are stored as uint8, 255 meaning 1.0.
    classes : int or None
        The number of classes, where the labels' type says it.
    """

    inputs: str
    labels: str
    images: bool
    pixels: bool
    classes: int | None


def find_columns(datasets: ModuleType, features: Any, folder: Path) -> Columns:
    """Choose the first image column, or else the first of arrays, and the first class label.

    Without a class label an integer column called ``label`` serves.
    """
    labels = [name for name in features if isinstance(features[name], datasets.ClassLabel)]
    if not labels and is_integer(features.get(LABEL)):
        labels = [LABEL]
    images = [name for name in features if isinstance(features[name], datasets.Image)]
    arrays = [name for name in features if array_dtype(features[name])]
    for kind, found in (("an image or an array", images or arrays), ("a label", labels)):
        if not found:
            raise InvalidInput(
                f"directory {str(folder)!r} has columns {', '.join(features)}, none of them "
                f"{kind}; "
                "inputs must be images or arrays of numbers, labels a ClassLabel or an integer "
                "column called 'label'"
            )
    chosen = (images or arrays)[0]
    pixels = bool(images) or array_dtype(features[chosen]) == "uint8"
    classes = getattr(features[labels[0]], "num_classes", None)
    return Columns(chosen, labels[0], images=bool(images), pixels=pixels, classes=classes)


def is_integer(feature: Any) -> bool:
    """Whether a feature is a single integer."""
    return "int" in str(getattr(feature, "dtype", ""))


def array_dtype(feature: Any) -> str | None:
    """Return the number type of a (nested) list or array feature; None for anything else."""
    if hasattr(feature, "shape"):
        return str(feature.dtype)
    inner = getattr(feature, "feature", None)
    if inner is None or isinstance(inner, dict):
        return None
    dtype = array_dtype(inner) or str(getattr(inner, "dtype", ""))
    return dtype if dtype.startswith(("int", "uint", "float")) else None
