"""demo(): five ways to start one sparse deep network, on real data, in a few minutes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from sparsefield.errors import InvalidInput, require
from sparsefield.pictures.arms import Arm, read_arms
from sparsefield.pictures.report import report
from sparsefield.studies.labels import labels
from sparsefield.train import TrainConfig

if TYPE_CHECKING:
    from sparsefield.sweep.runner import Places

SPARSITY, CLIP = 0.9, 1.1
SMALL_Q, LARGE_Q = 0.25, 4.0
SKIP = 0.9
_WORKERS = 2
_COMMON: dict[str, Any] = {
    "data": "digits",
    "normalise": "both",
    "network": "dnn",
    "sparsity": SPARSITY,
    "optimizer": "adam",
    "lr": 1e-3,
    "schedule": "cosine",
    "warmup": 0.05,
    "batch": 64,
    "head_gain": 3.0,
    "device": "cpu",
    "threads": 1,
}
# What sets each arm apart; the folders sort in this order.
_ARMS: dict[str, dict[str, Any]] = {
    "1-small-q": {"family": "crelu", "clip": CLIP, "q": SMALL_Q},
    "2-large-q": {"family": "crelu", "clip": CLIP, "q": LARGE_Q},
    "3-unclipped": {"family": "relu", "q": LARGE_Q},
    "4-torch-default": {"family": "crelu", "clip": CLIP, "q": LARGE_Q, "init": "torch"},
    "5-skip": {"family": "crelu", "clip": CLIP, "q": LARGE_Q, "skip": SKIP},
}


def demo(
    out: str | Path,
    *,
    progress: bool = True,
    depth: int = 30,
    width: int = 200,
    epochs: int = 40,
    seeds: int = 3,
    workers: int | None = None,
) -> Path:
    """Train five arms of one 90 % sparse network on the digits, and write the report.

    The arms share data, depth, width, budget, optimiser and seeds: CReLU with the solved
    initialisation at a small and at a larger q* and the same clip ratio; the shifted ReLU without
    a clip on its edge of chaos; the second arm's CReLU with PyTorch's default initialisation; and
    the second arm with a skip. Finished runs are kept: the same call again goes on, and a call on
    a finished folder only writes the report anew.

    Parameters
    ----------
    out
        Folder of the run directories (``ARM/seed-N``) and of ``report.html``.
    progress
        Show progress on stderr, and in the end the table of arms on stdout.
    depth, width, epochs, seeds
        Sizes of every run; the defaults take a few minutes.
    workers
        Processes, each with one thread; by default 2, or 1 on a single core.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    InvalidInput
        A size below 1, or an ``out`` that holds runs of other sizes.
    MissingExtra
        An extra that the demo needs is not installed.
    """
    _check(depth=depth, width=width, epochs=epochs, seeds=seeds, workers=workers or _WORKERS)
    _check_installed()
    from sparsefield.sweep.runner import run_all  # imports torch, as a report need not

    folder = Path(out)
    configs = {
        name: TrainConfig(**_COMMON, **own, depth=depth, width=width, epochs=epochs)
        for name, own in _ARMS.items()
    }
    processes = workers or min(_WORKERS, os.cpu_count() or 1)
    run_all(_places(folder, configs, seeds), workers=processes, progress=progress)
    path = report(folder)
    if progress:
        _conclude(read_arms(folder), path)
    return path


def _places(folder: Path, configs: dict[str, TrainConfig], seeds: int) -> Places:
    """Where each run goes, seed by seed, so that every arm has a result early."""
    from sparsefield.sweep.plan import Planned

    names = labels(list(configs.values()))
    return {
        Planned(f"{label}, seed {seed}", _seeded(config, seed)): folder / arm / f"seed-{seed}"
        for seed in range(seeds)
        for label, (arm, config) in zip(names, configs.items(), strict=True)
    }


def _seeded(config: TrainConfig, seed: int) -> TrainConfig:
    return config.model_copy(update={"seed": seed}).resolved()


def table(arms: Sequence[Arm]) -> Table:
    """The arms as a table for the terminal."""
    found = Table("arm", title="Mean over seeds [95 % interval]", box=SIMPLE, pad_edge=False)
    for name in ("test accuracy, %", "failed", "zeros, start → end, %"):
        found.add_column(name, justify="right", no_wrap=True)
    for arm in arms:
        found.add_row(
            arm.label,
            arm.accuracy.show(100),
            f"{arm.failed} of {len(arm.runs)}",
            f"{100 * arm.zeros_start.estimate:.1f} → {100 * arm.zeros_end.estimate:.1f}",
        )
    return found


def _conclude(arms: Sequence[Arm], path: Path) -> None:
    console = Console()
    console.print(table(arms))
    console.print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)


def _check(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise InvalidInput(f"{name}={size}: must be at least 1")


def _check_installed() -> None:
    """Say what is missing before minutes of training, not after."""
    for module, extra in (
        ("sklearn", "data"),
        ("pyarrow", "train"),
        ("matplotlib", "report"),
        ("jinja2", "report"),
    ):
        require(module, extra)
