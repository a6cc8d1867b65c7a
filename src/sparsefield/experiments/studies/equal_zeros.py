"""Accuracy at equal zeros or more: what each method has for a share of zeros, seed by seed.

Either one of its settings that has as many, or what lies between two neighbours of its settings:
there the accuracy of a seed is interpolated linearly over the zeros of its own networks. Of these
validation chooses. Where no network has as many zeros nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sparsefield.experiments.studies.contenders import DENSE, THRESHOLDS, Contender
from sparsefield.experiments.studies.statistics import (
    DIFFERENCES,
    SHARES,
    BySeed,
    Interval,
    mean,
    paired,
)

LEVELS = (0.8, 0.85, 0.9, 0.95)  # shares of zeros at which methods meet
_ROUNDING = 1e-6  # of a share that top-k has exactly


@dataclass(frozen=True)
class Stand:
    """What a method has for a share of zeros.

    Attributes
    ----------
    zeros
        that these networks have, on average over seeds: as many as were asked for, or more.
    accuracies
        on the test set by seed.
    validation
        mean accuracy by which to choose; None where there is none.
    """

    zeros: float
    accuracies: BySeed
    validation: float | None

    def accurate(self) -> Interval:
        """Mean accuracy."""
        return mean(list(self.accuracies.values()), within=SHARES)


@dataclass(frozen=True)
class Frontier:
    """What a method reaches, with or without the skip.

    Attributes
    ----------
    method, skip, ours
        as of a contender; the dense networks also stand at the head of their thresholds.
    settings
        those that train, in the order of what the method is turned by.
    """

    method: str
    skip: float
    ours: bool
    settings: tuple[Contender, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those of which every setting has a result."""
        return tuple(sorted(set.intersection(*(set(one.accuracy) for one in self.settings))))

    @property
    def reach(self) -> tuple[float, float]:
        """The fewest zeros and the most that a setting has, on average over seeds."""
        shares = [one.sparse().estimate for one in self.settings]
        return min(shares), max(shares)

    def at(self, zeros: float) -> Stand | None:
        """What validation chooses for this share of zeros; without validation, the least sparse."""
        found = list(self._stands(zeros))
        if not found:
            return None
        if any(one.validation is None for one in found):
            return min(found, key=lambda one: one.zeros)
        return max(found, key=lambda one: one.validation or 0.0)

    def _stands(self, zeros: float) -> Iterator[Stand]:
        lines = [*pairwise(self.settings), *((one,) for one in self.settings)]
        for line in lines if self.seeds else []:
            ends = {seed: _line(line, seed) for seed in self.seeds}
            if all(_reaches(zeros, line) for line in ends.values()):
                yield Stand(
                    max(zeros, min(one.sparse().estimate for one in line)),
                    {seed: _height(zeros, line) for seed, line in ends.items()},
                    _validation(zeros, line),
                )


@dataclass(frozen=True)
class Duel:
    """One of ours and a rival for one share of zeros, which both have."""

    zeros: float
    ours: Frontier
    rival: Frontier
    sides: tuple[BySeed, BySeed]

    @property
    def lead(self) -> Interval:
        """Accuracy of the rival less ours, by seed."""
        return paired(*self.sides, within=DIFFERENCES)


def frontiers(everyone: Sequence[Contender], cut: Sequence[Contender]) -> tuple[Frontier, ...]:
    """One a method and skip, ours and rivals in the order of the record, thresholds last."""
    groups: dict[tuple[str, float], list[Contender]] = {}
    for one in everyone:
        if not one.failed:
            groups.setdefault((one.method, one.skip), []).append(one)
    for skip in dict.fromkeys(one.skip for one in cut):
        levels = [one for one in cut if one.skip == skip]
        groups[THRESHOLDS, skip] = [*groups.get((DENSE, skip), ()), *in_order(levels)]
    return tuple(
        Frontier(*kind, group[0].ours, tuple(group if kind[0] == THRESHOLDS else in_order(group)))
        for kind, group in groups.items()
    )


def in_order(settings: Iterable[Contender]) -> list[Contender]:
    """By what the method is turned by."""
    return sorted(settings, key=lambda one: one.knob)


def best(among: Iterable[Frontier], zeros: float) -> tuple[Frontier, Stand] | None:
    """The method that validation chooses of those that have this share of zeros."""
    there = [(one, stand) for one in among if (stand := one.at(zeros)) is not None]
    return max(there, key=lambda found: found[1].validation or 0.0) if there else None


def duels(ours: Sequence[Frontier], rivals: Sequence[Frontier]) -> list[Duel]:
    """At each level that both sides reach, those two that validation chooses."""
    found = [(zeros, best(ours, zeros), best(rivals, zeros)) for zeros in LEVELS]
    return [
        Duel(zeros, one[0], other[0], (one[1].accuracies, other[1].accuracies))
        for zeros, one, other in found
        if one and other
    ]


def _line(settings: Sequence[Contender], seed: int) -> list[tuple[float, float]]:
    """Zeros and accuracy of a seed; a failed run has the zeros that its arm has."""
    return sorted(
        (one.zeros.get(seed, one.sparse().estimate), one.accuracy[seed]) for one in settings
    )


def _validation(zeros: float, settings: Sequence[Contender]) -> float | None:
    line = [(one.sparse().estimate, one.validation) for one in settings]
    known = sorted((share, value) for share, value in line if value is not None)
    return _height(zeros, known) if len(known) == len(line) else None


def _reaches(zeros: float, line: Sequence[tuple[float, float]]) -> bool:
    return zeros <= line[-1][0] + _ROUNDING


def _height(zeros: float, line: Sequence[tuple[float, float]]) -> float:
    """Before its start a line is as high as there: a network with more zeros will do."""
    return float(np.interp(zeros, [share for share, _ in line], [value for _, value in line]))
