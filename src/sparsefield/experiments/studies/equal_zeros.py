"""Accuracy at equal zeros or more: each method's settings from fewest zeros to most, by seed.

Between two settings the accuracy of a seed is interpolated linearly over the zeros of its own
networks. Where even the setting of fewest zeros has more than are asked for, it stands for the
method: a network with more zeros will do. Where none has as many, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sparsefield.experiments.studies.contenders import DENSE, THRESHOLDS, Contender
from sparsefield.experiments.studies.statistics import BySeed, Interval, mean, paired

LEVELS = (0.8, 0.85, 0.9, 0.95)  # shares of zeros at which methods meet
_ROUNDING = 1e-6  # of a share that top-k has exactly


@dataclass(frozen=True)
class Frontier:
    """What a method reaches, with or without the skip.

    Attributes
    ----------
    method, skip, ours
        as of a contender; the dense networks also stand at the head of their thresholds.
    settings
        those that train, from fewest zeros to most, less those that another has beaten: in the
        accuracy on validation images, with at least as many zeros.
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
        """The fewest zeros and the most that the settings have, on average over seeds."""
        return self.settings[0].sparse().estimate, self.settings[-1].sparse().estimate

    def accuracies(self, zeros: float) -> BySeed:
        """Accuracy at this share of zeros or more by seed; empty unless every seed has as many."""
        found = {seed: _at(zeros, self._line(seed)) for seed in self.seeds}
        return {seed: value for seed, value in found.items() if value is not None and _all(found)}

    def accurate(self, zeros: float) -> Interval:
        """Mean accuracy at this share of zeros or more."""
        return mean(list(self.accuracies(zeros).values()), within=(0.0, 1.0))

    def validated(self, zeros: float) -> float:
        """Validation accuracy, of means; -1 where there is none to choose by."""
        line = [(one.sparse().estimate, one.validation) for one in self.settings]
        known = [(share, value) for share, value in line if value is not None]
        found = _at(zeros, known)
        return -1.0 if found is None else found

    def _line(self, seed: int) -> list[tuple[float, float]]:
        """Zeros and accuracy of a seed; a failed run has the zeros that its arm has."""
        return sorted(
            (one.zeros.get(seed, one.sparse().estimate), one.accuracy[seed])
            for one in self.settings
        )


@dataclass(frozen=True)
class Duel:
    """One of ours and a rival at one share of zeros, which both have."""

    zeros: float
    ours: Frontier
    rival: Frontier

    @property
    def sides(self) -> tuple[BySeed, BySeed]:
        """Accuracy of ours and of the rival, by seed."""
        return self.ours.accuracies(self.zeros), self.rival.accuracies(self.zeros)

    @property
    def lead(self) -> Interval:
        """Accuracy of the rival less ours, by seed."""
        return paired(*self.sides)


def frontiers(everyone: Sequence[Contender], cut: Sequence[Contender]) -> tuple[Frontier, ...]:
    """One a method and skip, ours and rivals in the order of the record, thresholds last."""
    trained = [one for one in everyone if not one.failed]
    groups: dict[tuple[str, float], list[Contender]] = {}
    for one in trained:
        groups.setdefault((one.method, one.skip), []).append(one)
    for skip in dict.fromkeys(one.skip for one in cut):
        levels = [one for one in cut if one.skip == skip]
        groups[THRESHOLDS, skip] = [*groups.get((DENSE, skip), ()), *levels]
    return tuple(
        Frontier(method, skip, group[0].ours, unbeaten(group))
        for (method, skip), group in groups.items()
    )


def best(among: Iterable[Frontier], zeros: float) -> Frontier | None:
    """The one that validation chooses of those that have this share of zeros or more."""
    there = [one for one in among if one.accuracies(zeros)]
    return max(there, key=lambda one: one.validated(zeros)) if there else None


def duels(ours: Sequence[Frontier], rivals: Sequence[Frontier]) -> list[Duel]:
    """At each level that both sides reach, those two that validation chooses."""
    found = [(zeros, best(ours, zeros), best(rivals, zeros)) for zeros in LEVELS]
    return [Duel(zeros, one, other) for zeros, one, other in found if one and other]


def unbeaten(group: Sequence[Contender]) -> tuple[Contender, ...]:
    """From fewest zeros to most those that no other is ahead of on validation with as many."""
    left = [one for one in group if not any(_beats(other, one) for other in group)]
    return tuple(sorted(left, key=lambda one: one.sparse().estimate))


def _beats(one: Contender, other: Contender) -> bool:
    if one.validation is None or other.validation is None:
        return False
    return one.validation > other.validation and one.sparse().estimate >= other.sparse().estimate


def _at(x: float, line: Sequence[tuple[float, float]]) -> float | None:
    """The height of a line, before its start that of its start; None beyond its end."""
    if not line or x > line[-1][0] + _ROUNDING:
        return None
    return float(np.interp(x, [share for share, _ in line], [height for _, height in line]))


def _all(found: dict[int, float | None]) -> bool:
    return all(value is not None for value in found.values())
