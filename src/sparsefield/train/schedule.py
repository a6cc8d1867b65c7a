"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math


def factor(step: int, *, total: int, warmup: float, schedule: str) -> float:
    """The share of the peak learning rate that step ``step`` (from 0) of ``total`` uses.

    Parameters
    ----------
    step
        Optimiser steps already made.
    total
        Steps of the whole run.
    warmup
        Share of ``total`` over which the rate rises linearly; the first step is above 0.
    schedule
        "cosine" falls to 0 at ``total``; "constant" stays at 1.

    >>> [factor(step, total=4, warmup=0.5, schedule="constant") for step in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """
    rise = math.ceil(warmup * total)
    if step < rise:
        return (step + 1) / rise
    if schedule == "constant":
        return 1.0
    done = (step - rise) / max(total - rise, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
