"""The 8 x 8 digits that scikit-learn embeds: real data with no network and no files."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sparsefield.data.dataset import Decoded
from sparsefield.errors import require

CLASSES = 10
BRIGHTEST = 16.0  # the images count inked pixels in 4 x 4 blocks
TEST_EVERY = 5


def digits() -> Decoded:
    """Return the 1,797 digits, 1 x 8 x 8: of each class, every fifth image in file order is test.

    Source: UCI Optical Recognition of Handwritten Digits (test part), as embedded in
    scikit-learn.
    """
    found = require("sklearn.datasets", "data").load_digits()
    images = torch.from_numpy(found.images.astype(np.uint8)[:, None])
    labels = torch.from_numpy(found.target.astype(np.int64))
    test = torch.from_numpy(fifth_of_each_class(found.target))
    return Decoded(
        images[~test], labels[~test], images[test], labels[test], classes=CLASSES, scale=BRIGHTEST
    )


def fifth_of_each_class(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark samples number 5, 10, 15, ... of each class."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[TEST_EVERY - 1 :: TEST_EVERY]] = True
    return chosen
