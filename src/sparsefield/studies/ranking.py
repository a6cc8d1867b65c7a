"""Rank correlations over arms: which of two quantities goes more closely with a third."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, rankdata

from sparsefield.sweep.statistics import LEVEL, NONE, RESAMPLES, Interval

LEAST = 5  # arms below which there is no interval
_ROUNDING = 1e-12
Numbers = NDArray[np.float64]


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> Interval:
    """Spearman's rank correlation, with its bootstrap interval (percentiles) over arms.

    Arms are resampled, not seeds: over seeds the order of the arms hardly changes, and what a
    correlation claims is that it would hold of other arms. As arms are chosen and not drawn, the
    interval says how much hangs on single ones, no more. Below five arms there is none, nor where
    all resamples agree, as where the order is the same: what cannot vary tells no range.

    >>> rank_correlation([1, 2, 3, 4, 5], [1, 4, 9, 16, 25]).estimate
    1.0
    """
    return _resampled(spearman, one, other)


def partial_rank_correlation(
    one: Sequence[float], other: Sequence[float], held: Sequence[float]
) -> Interval:
    """The rank correlation of two quantities, what both share with a third taken away."""
    return _resampled(_partial, one, other, held)


def closer(target: Sequence[float], one: Sequence[float], other: Sequence[float]) -> Interval:
    """The rank correlation of ``target`` with ``one`` less that with ``other``, over equal arms.

    Without an interval where one of the two has none: the difference could have but one sign.
    """
    found = _resampled(lambda t, a, b: spearman(t, a) - spearman(t, b), target, one, other)
    sides = (rank_correlation(target, side) for side in (one, other))
    return found if all(side.known for side in sides) else _without_interval(found)


def spearman(one: NDArray[Any], other: NDArray[Any]) -> Numbers:
    """Rank correlation along the last axis; 0 where one side is constant."""
    a, b = _centred_ranks(one), _centred_ranks(other)
    size = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.asarray((a * b).sum(-1) / np.where(size > 0.0, size, 1.0))


def _partial(one: NDArray[Any], other: NDArray[Any], held: NDArray[Any]) -> Numbers:
    direct, a, b = spearman(one, other), spearman(one, held), spearman(other, held)
    room = (1.0 - a * a) * (1.0 - b * b)
    return np.where(room > 1e-12, (direct - a * b) / np.sqrt(np.maximum(room, 1e-12)), 0.0)


def _centred_ranks(values: NDArray[Any]) -> Numbers:
    ranks = rankdata(values, axis=-1)
    return np.asarray(ranks - ranks.mean(-1, keepdims=True))


def _resampled(statistic: Callable[..., Numbers], *samples: Sequence[float]) -> Interval:
    data = tuple(np.asarray(sample, dtype=float) for sample in samples)
    n = len(data[0])
    if n < 2:
        return NONE
    estimate = float(statistic(*data))
    if n < LEAST:
        return _without_interval(Interval(estimate, estimate, estimate, n))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = bootstrap(
            data,
            lambda *resampled, axis: statistic(*resampled),
            paired=True,
            vectorized=True,
            confidence_level=LEVEL,
            n_resamples=RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
    interval = Interval(estimate, float(found.low), float(found.high), n)
    return interval if found.high - found.low > _ROUNDING else _without_interval(interval)


def _without_interval(found: Interval) -> Interval:
    return Interval(found.estimate, math.nan, math.nan, found.n)
