"""Finished runs read from a folder and grouped into arms: one config, several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsefield.errors import InvalidInput
from sparsefield.sweep.failure import FAILED
from sparsefield.sweep.labels import labels
from sparsefield.sweep.statistics import DIFFERENCES, SHARES, Interval, mean, paired
from sparsefield.train import Run, TrainConfig, read_run

_NETWORKS = {"dnn": "fully connected network", "cnn": "convolutional network"}
_PATTERNS = ("config.yaml", "*/config.yaml", "*/*/config.yaml")


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but the seed, in the order of their seeds.

    ``config`` is that of the first run.
    """

    label: str
    config: TrainConfig
    runs: tuple[Run, ...]

    @property
    def accuracy(self) -> Interval:
        """Test accuracy after the last step, mean over seeds."""
        return self._share(lambda run: run.result.test_accuracy)

    @property
    def zeros_start(self) -> Interval:
        """Share of exact zeros before the first step, mean over layers and seeds."""
        return self._share(lambda run: float(np.mean(run.result.sparsity_init)))

    @property
    def zeros_end(self) -> Interval:
        """Share of exact zeros after the last step, mean over layers and seeds."""
        return self._share(lambda run: run.result.sparsity_mean)

    @property
    def failed(self) -> int:
        """How many of the runs failed."""
        return sum(run.result.failed for run in self.runs)

    def beside(self, other: Arm) -> Interval:
        """Test accuracy less that of ``other``, over the seeds that both have."""
        one, two = (
            {run.config.seed: run.result.test_accuracy for run in arm.runs} for arm in (other, self)
        )
        return paired(one, two, within=DIFFERENCES)

    def _share(self, value: Callable[[Run], float]) -> Interval:
        return mean([value(run) for run in self.runs], within=SHARES)


def read_arms(directory: str | Path) -> tuple[Arm, ...]:
    """Read one run directory, or every run in a folder, up to two folders below it.

    Runs of a sweep that ended without a result (``failed.json``) are left out.

    Raises
    ------
    InvalidInput
        No such directory, no run in it, an unfinished run, a damaged file.
    """
    groups: dict[str, list[Run]] = {}
    for run in map(read_run, _places(Path(directory))):
        key = run.config.model_copy(update={"seed": 0}).model_dump_json()
        groups.setdefault(key, []).append(run)
    found = [tuple(sorted(runs, key=lambda run: run.config.seed)) for runs in groups.values()]
    names = labels([runs[0].config for runs in found])
    return tuple(Arm(name, runs[0].config, runs) for name, runs in zip(names, found, strict=True))


def percent(share: Interval) -> str:
    """The share in per cent, with its interval where there is one."""
    return share.show(100) if share.known else f"{100 * share.estimate:.1f}"


def title(arms: Sequence[Arm]) -> str:
    """The data, and what all arms share of network, depth, width, skip and sparsity."""
    config = arms[0].config
    said = {
        "data": Path(config.data).name,
        "network": _NETWORKS[config.network],
        "depth": f"depth {config.depth}",
        "width": f"width {config.width}",
        "skip": f"skip {config.skip:g}",
        "sparsity": f"{100 * config.sparsity:g} % zeros aimed at",
    }
    shared = {name for name in said if len({getattr(arm.config, name) for arm in arms}) == 1}
    return ", ".join(text for name, text in said.items() if name in shared)


def _places(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InvalidInput(f"{root}: there is no such directory; give a run, or a folder of runs")
    for patterns in (_PATTERNS[:1], _PATTERNS[1:]):
        found = sorted(path.parent for pattern in patterns for path in root.glob(pattern))
        found = [place for place in found if not (place / FAILED).exists()]
        if found:
            return found
    raise InvalidInput(
        f"{root}: holds no run (no config.yaml in it or up to two folders below); "
        "give the directory of a run, or a folder of runs"
    )
