"""From times to rows: medians, quartiles, and speed beside the fastest dense contender."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .contenders import Contender
from .result import Cell, Row

Times = Mapping[str, Sequence[float]]


def best_dense(contenders: Sequence[Contender], times: Times) -> str:
    """The dense contender with the smallest median; eager is always among them."""
    dense = [c.rival.name for c in contenders if c.rival.dense and c.rival.name in times]
    return min(dense, key=lambda name: statistics.median(times[name]))


def rows(
    contenders: Sequence[Contender], times: Times, *, of: str, batch: int, zeros: float
) -> list[Row]:
    """One row a contender, timed or not."""
    against = times[best_dense(contenders, times)]
    return [_row(c, times.get(c.rival.name), against, of, batch, zeros) for c in contenders]


def cells(
    contenders: Sequence[Contender], times: Times, *, density: float, batch: int
) -> list[Cell]:
    """One cell for each contender that uses zeros."""
    best = best_dense(contenders, times)
    return [
        Cell(
            density,
            batch,
            contender.rival.name,
            contender.backend,
            *_against(times.get(contender.rival.name), best, times[best]),
            contender.status,
            contender.reason,
        )
        for contender in contenders
        if not contender.rival.dense
    ]


def spread(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(values, n=4)
    return median, (low, high)


def _row(
    contender: Contender,
    times: Sequence[float] | None,
    against: Sequence[float],
    of: str,
    batch: int,
    zeros: float,
) -> Row:
    rival, made = contender.rival, contender
    row = Row(
        *(of, batch, rival.name, rival.dense, made.status, made.reason, made.backend),
        *(made.threads, made.prepare_s, zeros),
    )
    if times is None:
        return row
    median, quartiles = spread(times)
    speedup, around = spread([theirs / ours for theirs, ours in zip(against, times, strict=True)])
    return replace(
        row,
        median_s=median,
        quartiles_s=quartiles,
        n=len(times),
        speedup=speedup,
        speedup_quartiles=around,
        realised=None if zeros == 1.0 else speedup * (1.0 - zeros),
    )


def _against(
    times: Sequence[float] | None, best: str, dense: Sequence[float]
) -> tuple[float | None, str, float, float | None]:
    """Median, the best dense contender and its median, and the median of the paired ratios."""
    dense_s = statistics.median(dense)
    if times is None:
        return None, best, dense_s, None
    ratio = statistics.median([ours / theirs for ours, theirs in zip(times, dense, strict=True)])
    return statistics.median(times), best, dense_s, ratio
