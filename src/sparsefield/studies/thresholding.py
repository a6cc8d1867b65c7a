"""A dense network made sparse after its training, by thresholds alone: a rival that costs nothing.

As FATReLU [Kurtz et al. 2020], CATS [Lee et al. 2024] and TEAL [Liu et al. 2024] do it, without the
training that some of them add. All layers have one level; the thresholds of the later ones are
calibrated with the earlier ones in place, which is the sequence that inference runs in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sparsefield.data import Dataset


class Level(NamedTuple):
    """What is left at one level.

    Attributes
    ----------
    level
        share of zeros asked for, in every layer.
    accuracy
        share of the test set classified rightly.
    sparsity
        realised share of exact zeros after each activation, on the test set.
    """

    level: float
    accuracy: float
    sparsity: tuple[float, ...]

    @property
    def sparsity_mean(self) -> float:
        """Mean over the layers."""
        return sum(self.sparsity) / len(self.sparsity)


def thresholded(
    directory: str | Path, levels: Sequence[float], *, dataset: Dataset | None = None
) -> list[Level]:
    """Threshold the network of a finished ReLU run at each level, and test it.

    A layer's threshold is the level-quantile of its values on 1000 training images; at test time a
    value above it is kept unchanged, any other is an exact zero. Level 0 is the network as it was
    trained; a level below a layer's own share of zeros leaves that layer as it is.

    Parameters
    ----------
    directory
        of a run of family relu (dense at sparsity 0.5).
    levels
        shares of zeros in [0, 1).
    dataset
        that of the run, where it is at hand; it is loaded otherwise.

    Raises
    ------
    InvalidInput
        no finished run there, a run of another family, or a level outside [0, 1).

    >>> for level, accuracy, sparsity in thresholded("runs/dense", [0.8, 0.9]):  # doctest: +SKIP
    ...     print(level, accuracy, min(sparsity))
    """
    from sparsefield.train.thresholds import Thresholded

    network = Thresholded(directory, dataset=dataset)
    found = [(level, network.evaluate(level)) for level in levels]
    return [Level(level, seen.accuracy, seen.sparsity) for level, seen in found]
