"""The clock: rounds over all contenders, each in a small block of consecutive calls."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random

import torch
from torch import Tensor

Call = Callable[[Tensor], object]
_ROUNDS = (5, 101)
_BLOCK = (5, 500)  # calls
_BLOCK_S = 0.004
_PAUSE_S = 0.02  # threads of the last contender's pool, which wait by spinning, go to sleep


def interleaved(
    calls: Mapping[str, Call], batches: Sequence[Tensor], *, seconds: float
) -> dict[str, list[float]]:
    """Seconds per call of every contender, one value a round.

    In each round each contender has one block: a pause, one discarded call (it wakes this
    contender's threads and brings its weights back to the caches), then at least five calls over
    ``batches`` in turn, whose mean is the round's value. The order changes from round to round,
    and the batches are the same for all. Callers warm up before.

    Parameters
    ----------
    calls
        by name.
    batches
        inputs of one shape.
    seconds
        to spend for each contender, roughly: 5 to 101 rounds.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode(), _no_collection():
        blocks = {name: _block_length(call, batches) for name, call in calls.items()}
        for turn in range(_rounds(list(blocks.values()), seconds)):
            for name in _order(list(calls), turn):
                found[name].append(_block(calls[name], batches, turn, blocks[name][0]))
    return found


def _rounds(blocks: Sequence[tuple[int, float]], seconds: float) -> int:
    """Rounds that take about so many seconds a contender."""
    low, high = _ROUNDS
    one_round = sum(_PAUSE_S + (count + 1) * one for count, one in blocks)
    return min(max(int(seconds * len(blocks) / max(one_round, 1e-9)), low), high)


def _order(names: Sequence[str], turn: int) -> list[str]:
    """Another order each round, the same in every run: nobody always follows the same rival."""
    return Random(turn).sample(names, len(names))


def _block_length(call: Call, batches: Sequence[Tensor]) -> tuple[int, float]:
    """Calls of a block, and seconds of one call."""
    call(batches[0])
    one = _block_mean(call, batches, 0, 2)
    low, high = _BLOCK
    return min(max(math.ceil(_BLOCK_S / max(one, 1e-9)), low), high), one


def _block(call: Call, batches: Sequence[Tensor], first: int, count: int) -> float:
    time.sleep(_PAUSE_S)
    call(batches[first % len(batches)])
    return _block_mean(call, batches, first + 1, count)


def _block_mean(call: Call, batches: Sequence[Tensor], first: int, count: int) -> float:
    turn = [batches[(first + index) % len(batches)] for index in range(count)]
    start = time.perf_counter()
    for x in turn:
        call(x)
    return (time.perf_counter() - start) / count


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python's garbage collector off: it would bill one contender for the waste of another."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
