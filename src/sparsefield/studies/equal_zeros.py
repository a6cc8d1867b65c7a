"""Accuracy for a share of zeros: what each method has there, seed by seed.

Either one of its settings that has as many zeros or more, or what lies between two neighbours of
its settings: there the accuracy of a seed is interpolated linearly over the zeros of its own
networks. Of these validation chooses. Where no network has as many zeros nothing is said. Two
methods meet at a level that lies within what the networks of both have; a method that starts above
it has more zeros than were asked for, and is compared apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np

from sparsefield.studies.contenders import DENSE, MARGIN, THRESHOLDS, Contender
from sparsefield.sweep.statistics import (
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
        Between two settings, where none has been run, those asked for.
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

    @property
    def most(self) -> float:
        """The most zeros that there are in every seed; none without seeds."""
        lines = self._lines() if self.seeds else []
        everywhere = (
            min(max(_share(one, seed) for one in line) for seed in self.seeds) for line in lines
        )
        return max(everywhere, default=0.0)

    def spans(self, zeros: float) -> bool:
        """Whether some setting has no more zeros than these, but for less than ``MARGIN``."""
        return self.reach[0] < zeros + MARGIN

    def at(self, zeros: float) -> Stand | None:
        """What validation chooses for this share of zeros; without validation, the least sparse."""
        found = list(self._stands(zeros))
        if not found:
            return None
        if any(one.validation is None for one in found):
            return min(found, key=lambda one: one.zeros)
        return max(found, key=lambda one: one.validation or 0.0)

    def _lines(self) -> list[tuple[Contender, ...]]:
        return [*pairwise(self.settings), *((one,) for one in self.settings)]

    def _stands(self, zeros: float) -> Iterator[Stand]:
        for line in self._lines() if self.seeds else []:
            places = {seed: _place(zeros, line, seed) for seed in self.seeds}
            found = {seed: place for seed, place in places.items() if place is not None}
            if len(found) == len(self.seeds):
                yield Stand(
                    fmean(share for share, _ in found.values()),
                    {seed: accuracy for seed, (_, accuracy) in found.items()},
                    _validation(zeros, line),
                )


@dataclass(frozen=True)
class Duel:
    """One of ours and a rival for one share of zeros, and what each has for it."""

    zeros: float
    ours: Frontier
    rival: Frontier
    stands: tuple[Stand, Stand]

    @property
    def sides(self) -> tuple[BySeed, BySeed]:
        """Accuracies, ours first."""
        return self.stands[0].accuracies, self.stands[1].accuracies

    @property
    def lead(self) -> Interval:
        """Accuracy of the rival less ours, by seed."""
        return paired(*self.sides, within=DIFFERENCES)

    @property
    def level(self) -> bool:
        """Whether this share of zeros lies within what the networks of both have."""
        return self.ours.spans(self.zeros) and self.rival.spans(self.zeros)

    @property
    def outdone(self) -> bool:
        """Whether it does not, as the rival starts above it, with more zeros than ours have."""
        return not self.rival.spans(self.zeros) and self.more > 0

    @property
    def more(self) -> float:
        """Zeros of the rival beyond ours, on average over seeds."""
        return self.stands[1].zeros - self.stands[0].zeros


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
    """At each level within the range of both sides, those two that validation chooses."""
    found = (
        duel(zeros, *([one for one in side if one.spans(zeros)] for side in (ours, rivals)))
        for zeros in LEVELS
    )
    return [one for one in found if one is not None]


def outdone(ours: Sequence[Frontier], rivals: Sequence[Frontier]) -> list[Duel]:
    """At each level that is below all networks of a rival, ours and that rival with more zeros."""
    found = (duel(zeros, ours, [one for one in rivals if not one.spans(zeros)]) for zeros in LEVELS)
    return [one for one in found if one is not None and one.outdone]


def duel(zeros: float, ours: Sequence[Frontier], rivals: Sequence[Frontier]) -> Duel | None:
    """Those two that validation chooses, whatever zeros they have beyond this share."""
    one, other = best(ours, zeros), best(rivals, zeros)
    return Duel(zeros, one[0], other[0], (one[1], other[1])) if one and other else None


def _share(one: Contender, seed: int) -> float:
    """Zeros of a seed; a failed run has those that its arm has."""
    return one.zeros.get(seed, one.sparse().estimate)


def _place(zeros: float, line: Sequence[Contender], seed: int) -> tuple[float, float] | None:
    """Zeros and accuracy of a seed: between two networks only where one of them falls short.

    Where both have as many zeros each will do, and validation says which.
    """
    ends = [(_share(one, seed), one.accuracy[seed]) for one in line]
    there = [share >= zeros - _ROUNDING for share, _ in ends]
    if not any(there):
        return None
    if not all(there):
        return zeros, _height(zeros, ends)
    if any(one.validation is None for one in line):
        return min(ends)
    return max(zip(line, ends, strict=True), key=lambda found: found[0].validation or 0.0)[1]


def _validation(zeros: float, line: Sequence[Contender]) -> float | None:
    ends = [(one.sparse().estimate, one.validation) for one in line if one.validation is not None]
    if len(ends) < len(line):
        return None
    if all(share >= zeros - _ROUNDING for share, _ in ends):
        return max(value for _, value in ends)
    return _height(zeros, ends)


def _height(zeros: float, ends: Sequence[tuple[float, float]]) -> float:
    shares, values = zip(*sorted(ends), strict=True)
    return float(np.interp(zeros, shares, values))
