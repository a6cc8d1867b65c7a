"""Accuracy for a share of zeros: what each method has there, seed by seed.

Either one of its settings that has as many zeros or more, or what lies between two neighbours of
its settings: there the accuracy of a seed is interpolated linearly over the zeros of its own
networks. Of these validation chooses. Where no network has as many zeros nothing is said. Two
sides meet at a level that lies within what the networks of both have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

import numpy as np

from sparsefield.studies.arms import Arm, validated
from sparsefield.sweep.statistics import BySeed

LEVELS = (0.8, 0.85, 0.9, 0.95)  # shares of zeros at which methods meet
MARGIN = 0.01  # share of zeros: two that differ by less count as equally sparse
_ROUNDING = 1e-6  # of a share that top-k has exactly


@dataclass(frozen=True)
class Setting:
    """One setting of a method, or what lies between two: by seed accuracy and zeros; validation.

    The zeros are those of the runs that did not fail: a dead network has nothing but zeros.
    """

    accuracy: BySeed
    zeros: BySeed
    validation: float

    @property
    def sparse(self) -> float:
        """Zeros, on average over seeds."""
        return fmean(self.zeros.values())

    def share(self, seed: int) -> float:
        """Zeros of a seed; a failed run has those that its setting has."""
        return self.zeros.get(seed, self.sparse)


Method = Sequence[Setting]


def settings(arms: Iterable[Arm], *, cut: bool = False) -> list[Setting]:
    """The settings of a method that train, in the order of what it is turned by.

    With ``cut`` the method is to train dense and then cut off at rising thresholds. Nothing but the
    test set was measured at these, so of several that are sparse enough the lowest is chosen.
    """
    ordered = sorted(arms, key=lambda arm: (arm["sparsity"], arm["penalty_weight"] or 0.0))
    alive = [arm for arm in ordered if arm.failed < len(arm.rows)]
    if not cut:
        return [_setting(arm) for arm in alive]
    levels = [one for arm in alive for one in (_setting(arm), *_levels(arm))]
    return [replace(one, validation=-float(place)) for place, one in enumerate(levels)]


def meet(ours: Method, rivals: Sequence[Method]) -> dict[float, tuple[Setting, Setting]]:
    """At each level within the range of both, ours and the rival that validation chooses."""
    found = {}
    for level in LEVELS:
        own, others = _best([ours], level), _best(rivals, level)
        if own and others:
            found[level] = own, others
    return found


def at(method: Method, zeros: float) -> Setting | None:
    """What validation chooses of a method for this share of zeros."""
    return max(_there(method, zeros), key=lambda one: one.validation, default=None)


def _best(methods: Iterable[Method], level: float) -> Setting | None:
    """What validation chooses of the methods that have this share of zeros within their range."""
    within = (one for one in methods if min((s.sparse for s in one), default=1) < level + MARGIN)
    found = [there for one in within if (there := at(one, level))]
    return max(found, key=lambda one: one.validation, default=None)


def _setting(arm: Arm) -> Setting:
    alive = {row.seed: row["zeros_end"] for row in arm.rows if not row["failed"]}
    return Setting(arm.by_seed(), alive, validated(arm.rows))


def _levels(arm: Arm) -> Iterator[Setting]:
    curves = {row.seed: row["thresholded"] for row in arm.rows if row["thresholded"]}
    for place in range(min((len(curve) for curve in curves.values()), default=0)):
        found = {seed: curve[place] for seed, curve in curves.items()}  # level, accuracy, zeros
        accuracy, zeros = ({seed: one[i] for seed, one in found.items()} for i in (1, 2))
        yield Setting(accuracy, zeros, 0.0)


def _there(method: Method, zeros: float) -> Iterator[Setting]:
    """One for each setting and each two neighbours that have as many zeros in every seed."""
    seeds = sorted(set.intersection(*(set(one.accuracy) for one in method))) if method else []
    for line in [*pairwise(method), *((one,) for one in method)] if seeds else []:
        found = {seed: place for seed in seeds if (place := _place(zeros, line, seed))}
        if len(found) == len(seeds):
            shares, accuracy = ({seed: one[i] for seed, one in found.items()} for i in (0, 1))
            yield Setting(accuracy, shares, _validation(zeros, line))


def _place(zeros: float, line: Method, seed: int) -> tuple[float, float] | None:
    """Zeros and accuracy of a seed: between two networks only where one of them falls short."""
    ends = [(one.share(seed), one.accuracy[seed]) for one in line]
    there = [share >= zeros - _ROUNDING for share, _ in ends]
    if all(there):
        return max(zip(line, ends, strict=True), key=lambda found: found[0].validation)[1]
    return (zeros, _between(zeros, ends)) if any(there) else None


def _validation(zeros: float, line: Method) -> float:
    ends = [(one.sparse, one.validation) for one in line]
    if all(share >= zeros - _ROUNDING for share, _ in ends):
        return max(value for _, value in ends)
    return _between(zeros, ends)


def _between(zeros: float, ends: Sequence[tuple[float, float]]) -> float:
    shares, values = zip(*sorted(ends), strict=True)
    return float(np.interp(zeros, shares, values))
