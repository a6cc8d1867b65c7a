"""What a sweep will cost, from a few measured steps of each kind of network in it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsefield.sweep.folder import waiting
from sparsefield.sweep.grid import Grid, NamedConfig
from sparsefield.sweep.progress import duration
from sparsefield.train import TrainConfig
from sparsefield.train.budget import Budget, budgets
from sparsefield.train.timing import Cost, cost

_LAYER = 6e5  # products in the time that a layer takes however narrow it is, some 0.1 ms
_PIXELS = 64  # of a feature map, roughly
# Fields that change what a step computes with, not how long it takes.
_NUMBERS = {
    *("sparsity", "q", "clip", "m", "slope", "chi1", "init", "weights", "head_gain", "seed"),
    *("epochs", "steps", "lr", "lr_first", "lr_bias", "lr_head", "momentum", "weight_decay"),
    *("schedule", "warmup", "log_every", "checkpoint_every", "penalty_weight"),
}


@dataclass(frozen=True)
class Kind:
    """Runs that cost the same by the step, as measured on ``example``, one of them.

    ``runs`` and ``steps`` are those still to be made; ``seconds`` that they take one after the
    other; ``disk`` bytes of one record without its tables.
    """

    example: str
    runs: int
    steps: int
    seconds_per_step: float
    seconds: float
    disk: int


@dataclass(frozen=True)
class Estimate:
    """The cost of what is left of a sweep.

    ``seconds`` are those of all runs one after the other, ``wall_seconds`` with ``jobs`` at a
    time on cores of their own; ``disk`` is in bytes.
    """

    runs: int
    ended: int
    steps: int
    jobs: int
    seconds: float
    wall_seconds: float
    disk: int
    kinds: tuple[Kind, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"runs          {self.runs}, {self.ended} of them ended before",
            f"steps         {self.steps} to be made",
            f"one by one    {duration(self.seconds)} ({self.seconds / 3600:.2f} h)",
            f"{f'{self.jobs} at a time':<14}{duration(self.wall_seconds)} "
            f"({self.wall_seconds / 3600:.2f} h), if each has its cores to itself",
            f"disk          {self.disk / 1e6:.1f} MB",
        ]
        lines += [
            f"  {kind.runs} runs like {kind.example}: {1e3 * kind.seconds_per_step:.2f} ms a step, "
            f"{duration(kind.seconds / kind.runs)} a run"
            for kind in self.kinds
        ]
        return "\n".join(lines)


def estimate(grid: Grid, directory: Path, *, jobs: int) -> Estimate:
    """Measure a few steps of each kind of network that has runs left, and add up.

    Raises
    ------
    SparsefieldError
        What the measured run raises: data that is not there, a device that is not there.
    """
    left = waiting(directory, grid)
    budget = dict(zip(left, budgets(run.config for run in left), strict=True))
    alike: dict[str, list[NamedConfig]] = {}
    for run in left:
        alike.setdefault(run.config.model_dump_json(exclude=_NUMBERS), []).append(run)
    kinds, each = list[Kind](), list[float]()
    for runs in alike.values():
        measured = cost(runs[0].config)
        seconds = [_seconds(budget[run], measured) for run in runs]
        steps, total = sum(budget[run].steps for run in runs), math.fsum(seconds)
        kinds.append(Kind(runs[0].name, len(runs), steps, measured.step, total, measured.disk))
        each += seconds
    return Estimate(
        runs=len(grid.runs),
        ended=len(grid.runs) - len(left),
        steps=sum(kind.steps for kind in kinds),
        jobs=jobs,
        seconds=math.fsum(kind.seconds for kind in kinds),
        wall_seconds=makespan(sorted(each, reverse=True), jobs),
        disk=sum(kind.disk * kind.runs for kind in kinds),
        kinds=tuple(kinds),
    )


def step_weight(config: TrainConfig) -> int:
    """Products of a step, and what a layer costs besides, to weigh runs against one another.

    >>> one = TrainConfig(depth=10, width=100)
    >>> step_weight(one.model_copy(update={"depth": 20})) / step_weight(one)
    2.0
    """
    taps = 9 * _PIXELS if config.network == "cnn" else 1
    return config.depth * round(_LAYER + config.batch * config.width**2 * taps)


def makespan(costs: Iterable[float], jobs: int) -> float:
    """When the last of so many workers is done, if each takes the next cost as it is free.

    >>> makespan([3, 2, 2], jobs=2)
    4.0
    """
    ends = [0.0] * jobs
    for seconds in costs:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def _seconds(budget: Budget, one: Cost) -> float:
    return one.start + budget.steps * one.step + budget.evaluations * one.evaluation
