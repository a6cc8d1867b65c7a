"""Finished runs read from a folder and grouped into arms: one config, several seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsefield.errors import InvalidInput
from sparsefield.pictures.labels import labels
from sparsefield.sweep.failure import FAILED
from sparsefield.sweep.spread import Spread, spread
from sparsefield.train import Run, TrainConfig, read_run

_PATTERNS = ("config.yaml", "*/config.yaml", "*/*/config.yaml")


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but the seed, in the order of their seeds.

    ``config`` is that of the first run; ``places`` are the run directories, as given.
    """

    label: str
    config: TrainConfig
    runs: tuple[Run, ...]
    places: tuple[Path, ...]

    @property
    def accuracy(self) -> Spread:
        """Test accuracy after the last step, over seeds."""
        return spread(run.result.test_accuracy for run in self.runs)

    @property
    def sparsity_init(self) -> Spread:
        """Share of exact zeros before the first step, mean over layers, over seeds."""
        return spread(float(np.mean(run.result.sparsity_init)) for run in self.runs)

    @property
    def sparsity_end(self) -> Spread:
        """Share of exact zeros after the last step, mean over layers, over seeds."""
        return spread(run.result.sparsity_mean for run in self.runs)

    @property
    def seconds(self) -> Spread:
        """Wall-clock time of a run."""
        return spread(run.result.seconds for run in self.runs)

    @property
    def failed(self) -> int:
        """How many of the runs failed."""
        return sum(run.result.failed for run in self.runs)

    @property
    def n(self) -> int:
        """How many runs there are."""
        return len(self.runs)


def read_arms(directory: str | Path) -> tuple[Arm, ...]:
    """Read one run directory, or every run in a folder, up to two folders below it.

    Runs of a sweep that ended without a result (``failed.json``) are left out.

    Raises
    ------
    InvalidInput
        No such directory, no run in it, an unfinished run, a damaged file.
    """
    places = _places(Path(directory))
    groups: dict[str, list[tuple[Path, Run]]] = {}
    for place in places:
        run = read_run(place)
        groups.setdefault(_key(run.config), []).append((place, run))
    found = [sorted(group, key=lambda pair: pair[1].config.seed) for group in groups.values()]
    configs = [group[0][1].config for group in found]
    return tuple(_arm(label, group) for label, group in zip(labels(configs), found, strict=True))


def _arm(label: str, group: list[tuple[Path, Run]]) -> Arm:
    places, runs = zip(*group, strict=True)
    return Arm(label, runs[0].config, runs, places)


def _key(config: TrainConfig) -> str:
    return config.model_copy(update={"seed": 0}).model_dump_json()


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
