"""Runs cut into pieces that may train together, so that every worker is busy to the end."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from sparsefield.sweep.plan import Planned
from sparsefield.train import TrainConfig, groups

MOST = 8  # members: sixteen were measured to gain no more than eight
MEMORY = 2**31  # bytes that the members of a piece may need at once
_GAIN = 0.8  # time together over one by one, measured 0.53 to 0.83: what weighs balance against it
_SLACK = 1.05
_SHARES = 16

Cut = list[tuple[Planned, ...]]


def cut(
    runs: Sequence[Planned],
    *,
    alone: Sequence[Planned] = (),
    work: Callable[[Planned], float],
    jobs: int,
) -> Cut:
    """Cut the runs into pieces for ``jobs`` workers, those that take longest first.

    Of several ways to cut, from large pieces to single runs, the first that is done about as soon
    as the soonest.

    Parameters
    ----------
    runs
        To be cut; only those that can train together come into one piece.
    alone
        Runs that are a piece each.
    work
        Of a run, in any unit; the same for all that can train together.
    jobs
        Workers.
    """
    kinds = [[runs[place] for place in places] for places in groups([run.config for run in runs])]
    singles = [(run,) for run in alone]

    def cost(piece: tuple[Planned, ...]) -> float:
        return len(piece) * work(piece[0])

    def seconds(pieces: Cut) -> float:
        return makespan((cost(piece) * (_GAIN if piece[1:] else 1.0) for piece in pieces), jobs)

    total = math.fsum(map(work, [*runs, *alone]))
    targets = [total / (jobs * share) for share in range(1, _SHARES + 1)] + [0.0]
    ways = [
        sorted([*singles, *_pieces(kinds, work, target)], key=cost, reverse=True)
        for target in targets
    ]
    ends = [seconds(way) for way in ways]
    return next(way for way, end in zip(ways, ends, strict=True) if end <= _SLACK * min(ends))


def makespan(costs: Iterable[float], jobs: int) -> float:
    """When the last of so many workers is done, if each takes the next cost as it is free.

    >>> makespan([3, 2, 2], jobs=2)
    4.0
    """
    ends = [0.0] * jobs
    for cost in costs:
        heapq.heapreplace(ends, ends[0] + cost)
    return max(ends)


def room(config: TrainConfig) -> int:
    """How many members a piece of such runs may have."""
    if config.network != "dnn":
        return 1
    # Weights, gradients and two moments, there twice while both ways are timed; activations.
    weights, activations = config.depth * config.width**2, config.depth * config.width
    return min(MOST, max(1, MEMORY // (4 * (8 * weights + 4 * config.batch * activations))))


def _pieces(
    kinds: Sequence[Sequence[Planned]], work: Callable[[Planned], float], target: float
) -> Iterator[tuple[Planned, ...]]:
    """Every kind in pieces of about ``target`` work."""
    for kind in kinds:
        wanted = max(1, math.ceil(target / work(kind[0])))
        yield from _split(kind, min(wanted, room(kind[0].config)))


def _split(kind: Sequence[Planned], most: int) -> Iterator[tuple[Planned, ...]]:
    """As few pieces as have at most so many runs, and as equal as can be."""
    count = -(-len(kind) // most)
    bounds = [len(kind) * piece // count for piece in range(count + 1)]
    for begin, end in itertools.pairwise(bounds):
        yield tuple(kind[begin:end])
