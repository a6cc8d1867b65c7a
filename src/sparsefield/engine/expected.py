"""How the threads should share a chain by bytes and work: what measuring must clearly beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .plan import How

# Of one thread, roughly, on today's machines: only their proportions matter.
_BYTES = 15e9  # a second, of weights from afar
_WORK = 15e9  # multiply-adds a second, rows from a near cache
_MEETING = 0.5e-6  # seconds until the threads have met after a layer


@dataclass(frozen=True)
class Load:
    """What one layer asks of a call.

    Attributes
    ----------
    size
        of its weights in bytes.
    density
        share of its inputs that are active.
    sites
        samples times pixels of its input: each reads the rows of its own active inputs.
    work
        multiply-adds of the whole batch.
    """

    size: float
    density: float
    sites: float
    work: float

    def moved(self, threads: int) -> float:
        """Bytes of the rows that a thread with its part of the sites needs."""
        return float(self.size * (1.0 - (1.0 - self.density) ** (self.sites / threads)))


def expected_how(loads: Sequence[Load], threads: int, ways: Sequence[How]) -> How:
    """The way that should take least time.

    >>> expected_how([Load(4e6, 0.1, 1, 1e5)] * 20, 2, ["alone", "together"])
    'together'
    >>> expected_how([Load(4e3, 0.1, 1, 1e2)] * 20, 2, ["alone", "together"])
    'alone'
    """
    work = sum(load.work for load in loads) / _WORK

    def seconds(how: How) -> float:
        if how == "apart":
            return sum(load.moved(threads) for load in loads) / _BYTES + work / threads
        alone = sum(load.moved(1) for load in loads) / _BYTES + work
        return alone if how == "alone" else alone / threads + _MEETING * len(loads)

    return min(ways, key=seconds)
