"""Together or one by one: whichever a few measured steps say is faster."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from sparsefield.data import Dataset, load
from sparsefield.train.config import TrainConfig
from sparsefield.train.group import Group
from sparsefield.train.grouping import groups, representative
from sparsefield.train.loop import cpu_threads, train
from sparsefield.train.member import Member
from sparsefield.train.record import Result
from sparsefield.train.runtime import Runtime, start_runtime
from sparsefield.train.together import begun_together, placed, train_together
from sparsefield.train.training import Training

REPEATS = 3
LEAST = 0.05  # seconds of a block that is timed


@dataclass(frozen=True)
class Rivals:
    """One step of every member, both ways, without monitor, record and evaluation."""

    together: Callable[[], None]
    one_by_one: Callable[[], None]


def train_all(
    configs: Sequence[TrainConfig],
    outs: Sequence[str | Path],
    *,
    resume: bool = False,
    progress: bool = True,
) -> list[Result]:
    """Train every config into its directory, those that can together where that is faster.

    A group that was begun together is resumed so. The arguments, results and errors are those of
    :func:`sparsefield.train.train_together`, for configs of any kind.
    """
    results: dict[int, Result] = {}
    for places in groups(configs):
        runs, where = [configs[place] for place in places], [outs[place] for place in places]
        if begun_together(where) or faster_together(runs):
            ended = train_together(runs, where, resume=resume, progress=progress)
        else:
            pairs = zip(runs, where, strict=True)
            ended = [train(run, out=out, resume=resume, progress=progress) for run, out in pairs]
        results |= dict(zip(places, ended, strict=True))
    return [results[place] for place in range(len(configs))]


def faster_together(configs: Sequence[TrainConfig]) -> bool:
    """Whether these runs take less time together than one after the other in this process.

    A few steps are timed both ways, once a process for each kind and size of group. Runs that
    cannot train together, and a single one, are not faster.
    """
    if len(configs) < 2 or len(groups(configs)) > 1:
        return False
    return _faster(representative(configs[0]), len(configs), torch.get_num_threads())


@cache
def _faster(config: TrainConfig, members: int, _: int) -> bool:
    runtime = start_runtime(config)
    if runtime.world_size > 1:
        return False
    dataset = placed(load(config.data, normalise=config.normalise), runtime.device)
    with cpu_threads(config.threads):
        both = rivals(config, members, dataset, runtime)
        together, one_by_one = _timed(both, runtime.device)
    return together < one_by_one


def rivals(config: TrainConfig, members: int, dataset: Dataset, runtime: Runtime) -> Rivals:
    """Make ``members`` runs of ``config``, which differ in their seeds, to be stepped both ways."""
    runs = [config.model_copy(update={"seed": seed, "monitor_every": 0}) for seed in range(members)]
    runs, nowhere = [run.resolved() for run in runs], Path()  # nothing is written
    alone = [Training(run, runtime, nowhere, dataset) for run in runs]
    joined = [Member(run, runtime, nowhere / str(run.seed), dataset, members) for run in runs]
    group = Group(joined, nowhere, runs, range(members))

    def one_by_one() -> None:
        for training in alone:
            training.advance(training.model)

    return Rivals(group.advance, one_by_one)


def _timed(both: Rivals, device: torch.device) -> tuple[float, float]:
    """The least seconds of a block of steps, each way in turn; the first steps are a warm-up."""
    inner = math.ceil(LEAST / max(_block(both.together, 1, device), 1e-6))
    _block(both.one_by_one, 1, device)
    blocks = [
        (_block(both.together, inner, device), _block(both.one_by_one, inner, device))
        for _ in range(REPEATS)
    ]
    together, one_by_one = zip(*blocks, strict=True)
    return min(together), min(one_by_one)


def _block(step: Callable[[], None], inner: int, device: torch.device) -> float:
    begin = time.perf_counter()
    for _ in range(inner):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin
