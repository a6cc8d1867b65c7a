"""Neighbours of one shape in groups, so that a deep network fits a page."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby

from sparsefield.energy.counted import ActivationCount, LayerCount


@dataclass(frozen=True)
class Group:
    """Neighbouring layers, or activations, of one kind and shape.

    Attributes
    ----------
    label
        name of the only one, or of the first and the last.
    start, stop
        which of all of them.
    """

    label: str
    start: int
    stop: int

    @property
    def span(self) -> slice:
        """The members."""
        return slice(self.start, self.stop)


def group_layers(layers: Sequence[LayerCount], most: int) -> tuple[Group, ...]:
    """Groups of layers of one kind and shape, about ``most`` of them at the most.

    Where there are no more than ``most`` layers, each is its own group. Otherwise runs of equal
    neighbours are cut into equal pieces; layers of different shapes are never joined.
    """
    return _grouped([x.name for x in layers], [(x.kind, x.weight_shape) for x in layers], most)


def group_activations(activations: Sequence[ActivationCount], most: int) -> tuple[Group, ...]:
    """The same for activations of one kind and number of units."""
    return _grouped([x.name for x in activations], [(x.kind, x.units) for x in activations], most)


def _grouped(names: Sequence[str], shapes: Sequence[Hashable], most: int) -> tuple[Group, ...]:
    runs = [len(list(run)) for _, run in groupby(shapes)]
    single, several = sum(run == 1 for run in runs), sum(run > 1 for run in runs)
    pieces = len(names) if len(names) <= most else max(1, (most - single) // max(1, several))
    groups: list[Group] = []
    for run in runs:
        for length in _cut(run, min(run, pieces)):
            start = groups[-1].stop if groups else 0
            groups.append(Group(_label(names[start : start + length]), start, start + length))
    return tuple(groups)


def _cut(length: int, pieces: int) -> list[int]:
    """Whole lengths that differ by at most one.

    >>> _cut(10, 4)
    [2, 3, 2, 3]
    """
    return [length * (i + 1) // pieces - length * i // pieces for i in range(pieces)]


def _label(names: Sequence[str]) -> str:
    """The first name and what differs in the last.

    >>> _label(["layers.3", "layers.4", "layers.5"])
    'layers.3 to 5'
    """
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1].rpartition('.')[2]}"
