"""Finished runs read from a folder, as the arms of a study are: one config, several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sparsefield.errors import InvalidInput
from sparsefield.studies.arms import Arm, grouped
from sparsefield.studies.record import Row
from sparsefield.studies.results import of_result
from sparsefield.sweep.failure import FAILED
from sparsefield.sweep.labels import labels
from sparsefield.train import Run, read_run

Arms = Mapping[str, Arm]  # by label
_NETWORKS = {"dnn": "fully connected network", "cnn": "convolutional network"}
_PATTERNS = ("config.yaml", "*/config.yaml", "*/*/config.yaml")


def read_arms(directory: str | Path) -> dict[str, Arm]:
    """Read one run directory, or every run in a folder, up to two folders below it.

    Runs of a sweep that ended without a result (``failed.json``) are left out. The arms by what
    they are called, in the order of their folders, their runs in that of the seeds.

    Raises
    ------
    InvalidInput
        No such directory, no run in it, an unfinished run, a damaged file.
    """
    found = grouped([_row(read_run(place)) for place in _places(Path(directory))])
    arms = [Arm.of(sorted(arm.rows, key=lambda row: row.seed)) for arm in found]
    return dict(zip(labels([arm.runs[0].config for arm in arms]), arms, strict=True))


def title(arms: Arms) -> str:
    """The data, and what all arms share of network, depth, width, skip and sparsity."""
    configs = [arm.runs[0].config for arm in arms.values()]
    config = configs[0]
    said = {
        "data": Path(config.data).name,
        "network": _NETWORKS[config.network],
        "depth": f"depth {config.depth}",
        "width": f"width {config.width}",
        "skip": f"skip {config.skip:g}",
        "sparsity": f"{100 * config.sparsity:g} % zeros aimed at",
    }
    shared = {name for name in said if len({getattr(each, name) for each in configs}) == 1}
    return ", ".join(text for name, text in said.items() if name in shared)


def _row(run: Run) -> Row:
    config = run.config.model_dump(mode="json", exclude={"seed"})
    return Row("", run.config.seed, config, of_result(run.result), run)


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
