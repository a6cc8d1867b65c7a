"""Means, shares and paired differences over seeds, each with the interval that it may lie in.

A handful of seeds says little about the law that they come from. The bootstrap (BCa) knows
nothing beyond them: at three seeds its 95 % interval covers the mean about three times in four.
Student's t is right for a normal law at any number, and wrong for a skewed one. The interval here
reaches, end by end, as far as the wider of the two; its coverage is measured in
tests/sweep/test_statistics.py and stated in docs/results/intro.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import binomtest, bootstrap, t

LEVEL = 0.95
RESAMPLES = 9999
ANYTHING = (-math.inf, math.inf)
POSITIVE = (0.0, math.inf)  # what a ratio or a count can be
SHARES = (0.0, 1.0)  # what a share can be, and so a mean of shares
DIFFERENCES = (-1.0, 1.0)  # what a difference of two shares can be
BySeed = Mapping[int, float]


@dataclass(frozen=True)
class Interval:
    """An estimate, the ends of its 95 % interval, and how many values it is from.

    One value has no interval, nor has one that is infinite: the ends are NaN. No value at all: the
    estimate is too.
    """

    estimate: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.low)

    def excludes(self, value: float = 0.0) -> bool:
        """Whether the interval is there and does not hold ``value``."""
        return self.low > value or self.high < value

    def scaled(self, factor: float) -> Interval:
        """The same in other units, ``factor`` > 0 of them to one of these."""
        return Interval(factor * self.estimate, factor * self.low, factor * self.high, self.n)

    def show(self, scale: float = 1.0, digits: int = 1, *, signed: bool = False) -> str:
        """The estimate and its interval.

        >>> Interval(0.886, 0.871, 0.9, 5).show(100)
        '88.6 [87.1, 90.0]'
        >>> Interval(0.02, math.nan, math.nan, 1).show(100, signed=True)
        '+2.0 [no interval]'
        """
        if not self.n:
            return "none"
        form = f"{'+' if signed else ''}.{digits}f"
        estimate, low, high = (
            _no_minus_zero(format(scale * value, form))
            for value in (self.estimate, self.low, self.high)
        )
        return f"{estimate} [{low}, {high}]" if self.known else f"{estimate} [no interval]"


NONE = Interval(math.nan, math.nan, math.nan, 0)


def mean(values: Sequence[float], *, within: tuple[float, float] = ANYTHING) -> Interval:
    """The mean of independent values, with the wider, end by end, of BCa and Student's t.

    Parameters
    ----------
    values
        One a seed.
    within
        What the mean can be at all, as ``SHARES`` of an accuracy; no end lies outside.

    >>> mean([0.5, 0.5, 0.5])
    Interval(estimate=0.5, low=0.5, high=0.5, n=3)
    """
    one, other = bca(values), student(values)
    if not one.known:
        return one
    low, high = min(one.low, other.low), max(one.high, other.high)
    return Interval(one.estimate, max(low, within[0]), min(high, within[1]), one.n)


def bca(values: Sequence[float]) -> Interval:
    """The mean with its bias-corrected and accelerated bootstrap interval [Efron 1987].

    The resamples are the same at every call, so the same values give the same interval.
    """
    return _degenerate(values) or Interval(_mean(values), *_bca(tuple(values)), len(values))


@lru_cache(maxsize=4096)  # an index, a page and a figure ask for the same intervals
def _bca(values: tuple[float, ...]) -> tuple[float, float]:
    sample, rng = (np.asarray(values, dtype=float),), np.random.default_rng(0)
    found = bootstrap(
        sample, np.mean, confidence_level=LEVEL, n_resamples=RESAMPLES, method="BCa", rng=rng
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def student(values: Sequence[float]) -> Interval:
    """The mean with Student's interval, which is exact for values of a normal law."""
    if point := _degenerate(values):
        return point
    n, centre = len(values), _mean(values)
    reach = float(t.ppf((1 + LEVEL) / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(centre, centre - reach, centre + reach, n)


def share(successes: int, trials: int) -> Interval:
    """A share with Wilson's interval, which holds for few trials and for none or all of them.

    >>> share(0, 5).show(100)
    '0.0 [0.0, 43.4]'
    """
    if not trials:
        return NONE
    found = binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return Interval(successes / trials, float(found.low), float(found.high), trials)


def paired(one: BySeed, other: BySeed, *, within: tuple[float, float] = ANYTHING) -> Interval:
    """The mean of ``other`` less ``one`` over the seeds that both have.

    ``within``: what it can be at all, as ``DIFFERENCES`` of two accuracies.

    >>> paired({0: 0.5, 1: 0.6}, {1: 0.7, 2: 0.9}).estimate
    0.1
    """
    return pooled([(one, other)], within=within)


def pooled(
    pairs: Sequence[tuple[BySeed, BySeed]], *, within: tuple[float, float] = ANYTHING
) -> Interval:
    """The mean over several pairs of ``other`` less ``one``; pairs without a common seed left out.

    Runs of one seed share their batches, and what the seed does to one pair it may do to all. So a
    seed counts once, with its mean over the pairs: the interval is over seeds, those that every
    pair has, for just these pairs. ``within``: as in :func:`paired`.
    """
    differences = [found for one, other in pairs if (found := _differences(one, other))]
    if not differences:
        return NONE
    common = sorted(set.intersection(*(set(found) for found in differences)))
    by_seed = [_mean([found[seed] for found in differences]) for seed in common]
    return mean([round(value, 12) for value in by_seed], within=within)


def _differences(one: BySeed, other: BySeed) -> dict[int, float]:
    return {seed: other[seed] - one[seed] for seed in one if seed in other}


def _degenerate(values: Sequence[float]) -> Interval | None:
    """The interval where there is nothing to resample."""
    if not len(values):
        return NONE
    centre = _mean(values)
    if len(values) == 1 or not math.isfinite(centre):
        return Interval(centre, math.nan, math.nan, len(values))
    if max(values) == min(values):
        return Interval(centre, centre, centre, len(values))
    return None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _no_minus_zero(text: str) -> str:
    return text.replace("-", "") if text.startswith("-") and not text.strip("-0.") else text
