"""How much of a sweep is done and how long the rest takes, from the pace so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from sparsefield.sweep.plan import Planned
from sparsefield.train import TrainConfig

_LAYER = 6e5  # products in the time that a layer takes however narrow it is, some 0.1 ms
_PIXELS = 64  # of a feature map, roughly


def step_weight(config: TrainConfig) -> float:
    """Products of a step, and what a layer costs besides: runs of one sweep may differ in size.

    It only weighs runs against one another; the pace is measured.

    >>> one = TrainConfig(depth=10, width=100)
    >>> step_weight(one.model_copy(update={"depth": 20})) / step_weight(one)
    2.0
    """
    taps = 9 * _PIXELS if config.network == "cnn" else 1
    return config.depth * (_LAYER + config.batch * config.width**2 * taps)


class Workload:
    """Steps of all runs, weighed by the size of their networks, done and to be done.

    Parameters
    ----------
    runs, steps
        The runs of the sweep and the steps of each, by name.
    waiting
        Names of those that have not ended yet.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        runs: Sequence[Planned],
        steps: Mapping[str, int],
        waiting: set[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps, self._clock, self._begun = steps, clock, clock()
        self._weights = {run.name: step_weight(run.config) for run in runs}
        self._done = {run.name: 0 if run.name in waiting else steps[run.name] for run in runs}
        # Steps that a run had before this call are no pace of this call.
        self._from = dict(self._done)

    @property
    def share(self) -> float:
        """Share of the work that is done, in [0, 1]."""
        total = self._work(self._steps)
        return self._work(self._done) / total if total else 1.0

    def steps_of(self, name: str) -> int:
        """Steps of a run in all."""
        return self._steps[name]

    def of(self, run: Planned) -> float:
        """The work of a run in all."""
        return self._weights[run.name] * self._steps[run.name]

    def stepped(self, name: str, begun: int, step: int) -> None:
        """A run that went on from step ``begun`` is at this step."""
        self._from[name], self._done[name] = begun, step

    def ended(self, name: str) -> None:
        """A run has ended, however it did."""
        self._done[name] = self._steps[name]

    def seconds_left(self) -> float:
        """At the pace of this call; infinite while there is none."""
        made = self._work(self._done) - self._work(self._from)
        left = self._work(self._steps) - self._work(self._done)
        if left <= 0:
            return 0.0
        elapsed = self._clock() - self._begun
        return left * elapsed / made if made > 0 else math.inf

    def _work(self, steps: Mapping[str, int]) -> float:
        return math.fsum(self._weights[name] * steps[name] for name in self._weights)
