"""What a sweep will cost, from a few measured steps of each kind of network in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsefield.sweep.cutting import makespan
from sparsefield.sweep.folder import waiting
from sparsefield.sweep.pieces import Pieces, settle
from sparsefield.sweep.plan import Plan, Planned
from sparsefield.sweep.progress import duration
from sparsefield.sweep.workload import step_weight
from sparsefield.train import TrainConfig
from sparsefield.train.budget import Budget, budgets
from sparsefield.train.timing import Cost, cost

# Fields that change what a step computes with, not how long it takes.
_NUMBERS = frozenset(
    {"sparsity", "q", "clip", "m", "slope", "chi1", "init", "weights", "head_gain", "seed"}
    | {
        "epochs",
        "steps",
        "lr",
        "lr_first",
        "lr_bias",
        "lr_head",
        "momentum",
        "weight_decay",
        "schedule",
        "warmup",
    }
    | {"log_every", "checkpoint_every", "penalty_weight"}
)


@dataclass(frozen=True)
class Kind:
    """Runs that cost the same by the step, as measured on one of them.

    ``runs`` and ``steps`` are those still to be made; ``seconds`` that they take one after the
    other; ``disk`` bytes of one record without its tables.
    """

    fields: dict[str, Any]
    runs: int
    steps: int
    seconds_per_step: float
    seconds: float
    disk: int


@dataclass(frozen=True)
class Estimate:
    """The cost of what is left of a sweep.

    ``seconds`` are those of all runs one after the other, ``wall_seconds`` with ``jobs`` at a
    time on cores of their own; ``disk`` is in bytes. ``together`` runs may train together, if that
    is measured to be faster when they are made: the seconds are those of each alone.
    """

    runs: int
    ended: int
    steps: int
    jobs: int
    together: int
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
        if self.together:
            lines.append(
                f"together      {self.together} runs may be, if measured to take less: "
                "the times are those of each alone"
            )
        lines += [
            f"  {kind.runs} runs{_told(kind.fields)}: {1e3 * kind.seconds_per_step:.2f} ms a step, "
            f"{duration(kind.seconds / kind.runs)} a run"
            for kind in self.kinds
        ]
        return "\n".join(lines)


def estimate(plan: Plan, directory: Path, *, jobs: int, together: bool = True) -> Estimate:
    """Measure a few steps of each kind of network that has runs left, and add up.

    Raises
    ------
    SparsefieldError
        What the measured run raises: data that is not there, a device that is not there.
    """
    left = waiting(directory, plan)
    budget = dict(zip(left, budgets(run.config for run in left), strict=True))
    groups: dict[str, list[Planned]] = {}
    for run in left:
        groups.setdefault(_key(run.config), []).append(run)
    costs = {key: cost(group[0].config) for key, group in groups.items()}
    swept = _differing([group[0].config for group in groups.values()])
    kinds = tuple(_kind(group, budget, costs[key], swept) for key, group in groups.items())
    seconds = math.fsum(kind.seconds for kind in kinds)
    alone = {run.name: _run_seconds(budget[run], costs[_key(run.config)]) for run in left}
    work = {run.name: step_weight(run.config) * budget[run].steps for run in left}
    pieces = settle(
        directory, plan, left, work=lambda run: work[run.name], jobs=jobs, together=together
    )
    return Estimate(
        runs=len(plan.runs),
        ended=len(plan.runs) - len(left),
        steps=sum(kind.steps for kind in kinds),
        jobs=jobs,
        together=len(pieces.grouped(left)),
        seconds=seconds,
        wall_seconds=_wall(pieces, alone, jobs),
        disk=sum(kind.disk * kind.runs for kind in kinds),
        kinds=kinds,
    )


def _wall(pieces: Pieces, alone: Mapping[str, float], jobs: int) -> float:
    """The longer of all runs alone and of pieces that gain nothing: neither is known yet."""
    whole = [
        [alone[run.name] for run in piece.runs if run.name in alone] for piece in pieces.pieces
    ]
    single = [seconds for piece in whole for seconds in piece]
    return max(makespan(single, jobs), makespan(map(math.fsum, whole), jobs))


def _kind(
    group: list[Planned], budget: Mapping[Planned, Budget], measured: Cost, swept: list[str]
) -> Kind:
    return Kind(
        fields={field: getattr(group[0].config, field) for field in swept},
        runs=len(group),
        steps=sum(budget[run].steps for run in group),
        seconds_per_step=measured.step,
        seconds=math.fsum(_run_seconds(budget[run], measured) for run in group),
        disk=measured.disk,
    )


def _run_seconds(budget: Budget, measured: Cost) -> float:
    steps, evaluations = budget.steps * measured.step, budget.evaluations * measured.evaluation
    return measured.start + steps + evaluations


def _key(config: TrainConfig) -> str:
    return config.model_dump_json(exclude=set(_NUMBERS))


def _differing(configs: list[TrainConfig]) -> list[str]:
    fields = [name for name in TrainConfig.model_fields if name not in _NUMBERS]
    return [name for name in fields if len({repr(getattr(c, name)) for c in configs}) > 1]


def _told(fields: Mapping[str, Any]) -> str:
    return "".join(f", {name} {value}" for name, value in fields.items())
