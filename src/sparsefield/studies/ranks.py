"""Rank correlations over arms, one prediction held while the other is looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefield.sweep.statistics import LEVEL, NONE, RESAMPLES, Interval

LEAST = 5  # arms below which there is no interval
_ROUNDING = 1e-12
Numbers = NDArray[np.float64]


def rank_correlation(
    one: Sequence[float], other: Sequence[float], held: Sequence[float] | None = None
) -> Interval:
    """Spearman's rank correlation, with its bootstrap interval (percentiles) over arms.

    With ``held`` the partial correlation: what both share with a third is taken away. Arms are
    resampled, not seeds, over which their order hardly changes. As arms are chosen and not drawn,
    the interval says how much hangs on single ones, no more. Below five arms there is none, nor
    where all resamples agree: what cannot vary tells no range.

    >>> rank_correlation([1, 2, 3, 4, 5], [1, 4, 9, 16, 25]).estimate
    1.0
    """
    samples = [sample for sample in (one, other, held) if sample is not None]
    ordered = sorted(zip(*samples, strict=True), reverse=True)  # resamples alike in any order
    n = len(ordered)
    if n < 2:
        return NONE
    data = np.array(ordered, dtype=float).T
    estimate = float(_statistic(*data))
    if n < LEAST:
        return Interval(estimate, math.nan, math.nan, n)
    drawn = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    low, high = np.quantile(_statistic(*data[:, drawn]), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    if high - low < _ROUNDING:
        low = high = math.nan
    return Interval(estimate, float(low), float(high), n)


def _statistic(one: NDArray[Any], other: NDArray[Any], *held: NDArray[Any]) -> Numbers:
    direct = _spearman(one, other)
    if not held:
        return direct
    a, b = _spearman(one, held[0]), _spearman(other, held[0])
    room = (1.0 - a * a) * (1.0 - b * b)
    return np.where(room > 1e-12, (direct - a * b) / np.sqrt(np.maximum(room, 1e-12)), 0.0)


def _spearman(one: NDArray[Any], other: NDArray[Any]) -> Numbers:
    """Rank correlation along the last axis; 0 where one side is constant."""
    a, b = _centred_ranks(one), _centred_ranks(other)
    size = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.asarray((a * b).sum(-1) / np.where(size > 0.0, size, 1.0))


def _centred_ranks(values: NDArray[Any]) -> Numbers:
    """Ranks along the last axis, equal values at the mean of theirs, less their mean."""
    others = np.moveaxis(values, -1, 0)[..., None]
    ranks = sum((values > other) + 0.5 * (values == other) for other in others)
    return np.asarray(ranks - np.mean(ranks, axis=-1, keepdims=True))
