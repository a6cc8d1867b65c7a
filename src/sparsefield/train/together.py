"""train_together(): several configs in, as many recorded runs out, trained as one network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch

from sparsefield.data import Dataset, load
from sparsefield.errors import InvalidInput, require
from sparsefield.train.atomic import exclusive
from sparsefield.train.checkpoint import State, load_checkpoint
from sparsefield.train.config import TrainConfig
from sparsefield.train.configfile import differences
from sparsefield.train.group import CHECKPOINT, Group
from sparsefield.train.grouping import parted
from sparsefield.train.loop import cpu_threads
from sparsefield.train.member import Member
from sparsefield.train.progress import Silent, display
from sparsefield.train.record import CHECKPOINT as OWN_CHECKPOINT
from sparsefield.train.record import Result, open_run
from sparsefield.train.runtime import Runtime, start_runtime
from sparsefield.train.steps import made


def train_together(
    configs: Sequence[TrainConfig],
    outs: Sequence[str | Path],
    *,
    resume: bool = False,
    progress: bool | Silent = True,
) -> list[Result]:
    """Train several networks that differ in numbers only as one, and record each as its own run.

    Each member has the initial weights and the order of the data that it has alone, bit for bit,
    and the same losses to rounding; its directory is that of any run. A member that diverges is
    recorded and leaves; the others go on. Killed at any moment and resumed with the same list, the
    group ends bit for bit (on the CPU) as one that was not. Until then its checkpoint is the file
    ``together`` in the first directory.

    Parameters
    ----------
    configs
        Runs of one group; see :func:`sparsefield.train.groups`.
    outs
        As many run directories.
    resume
        Go on from the group's checkpoint, start where there is none; finished runs are left as
        they are.
    progress
        Show progress on stderr: medians over the members; or a display of one's own, which is told
        of every step.

    Returns
    -------
    One result a config, in order.

    Raises
    ------
    InvalidInput
        Configs that cannot train together; directories that are not as many or not different;
        several processes; a checkpoint of another group; a run there that was begun alone; and
        whatever :func:`sparsefield.train.train` raises.
    """
    require("pyarrow", "train")
    resolved, directories = [config.resolved() for config in configs], [Path(out) for out in outs]
    if not resolved and not directories:
        return []
    _check(resolved, directories)
    runtime = start_runtime(resolved[0])
    if runtime.world_size > 1:
        raise InvalidInput(
            f"{runtime.world_size} processes: runs train together in one; train each alone, or "
            "start a single process"
        )
    with ExitStack() as held, cpu_threads(resolved[0].threads):
        for directory in directories:
            held.enter_context(exclusive(directory))
        path = _group_checkpoint(directories, resume=resume)
        pairs = zip(directories, resolved, strict=True)
        finished = {out: open_run(out, config, resume=resume) for out, config in pairs}
        results = {out: result for out, result in finished.items() if result is not None}
        if len(results) < len(directories):
            results |= _run(resolved, directories, set(results), path, runtime, progress)
        path.unlink(missing_ok=True)
        return [results[directory] for directory in directories]


def begun_together(outs: Sequence[str | Path]) -> bool:
    """Whether a group was begun in these directories and is not yet finished."""
    return any((Path(out) / CHECKPOINT).exists() for out in outs)


def _check(configs: list[TrainConfig], directories: list[Path]) -> None:
    if len(configs) != len(directories):
        raise InvalidInput(
            f"{len(configs)} configs and {len(directories)} directories: give one directory a run"
        )
    if len({directory.resolve() for directory in directories}) < len(directories):
        raise InvalidInput("two runs have the same directory: give each run one of its own")
    if reason := parted(configs):
        raise InvalidInput(
            f"{reason}: these runs cannot train together; train them alone, or part them with "
            "sparsefield.train.groups"
        )
    for config in configs:
        config.point()  # an impossible point is an error before anything is written


def _group_checkpoint(directories: list[Path], *, resume: bool) -> Path:
    """Where this group's checkpoint is or will be."""
    path = directories[0] / CHECKPOINT
    for directory in directories:
        other = directory / CHECKPOINT
        if other.exists() and (other != path or not resume):
            raise InvalidInput(
                f"{other}: runs are training together there; resume the same runs in the same "
                "order, or give other directories"
            )
    return path


def _run(
    configs: list[TrainConfig],
    directories: list[Path],
    finished: set[Path],
    path: Path,
    runtime: Runtime,
    progress: bool | Silent,
) -> dict[Path, Result]:
    dataset = placed(load(configs[0].data, normalise=configs[0].normalise), runtime.device)
    state = load_checkpoint(path, configs[0], dataset.digest)
    open_places = [place for place, out in enumerate(directories) if out not in finished]
    if state is None:
        _check_fresh([directories[place] for place in open_places])
        state = {"training": open_places, "companions": len(open_places)}
    else:
        check_same(path, state, configs)
        _check_recorded([directories[place] for place in open_places], state, directories)
    members = [
        Member(configs[place], runtime, directories[place], dataset, state["companions"])
        for place in state["training"]
    ]
    if not members:
        return {}
    group = Group(members, path, configs, state["training"])
    group.restore(state)
    return _looped(group, progress)


def _looped(group: Group, progress: bool | Silent) -> dict[Path, Result]:
    epochs = group.members[0].epochs
    shown = display(progress, step=group.step, total=group.total, epochs=epochs)
    return made(group, shown)


def placed(dataset: Dataset, device: torch.device) -> Dataset:
    """The dataset on ``device``, once for all members."""
    if device.type == "cpu":
        return dataset
    names = ("train_x", "train_y", "test_x", "test_y")
    moved = replace(dataset, **{name: getattr(dataset, name).to(device) for name in names})
    vars(moved)["input_moment"] = dataset.input_moment  # a cached property, computed on the CPU
    return moved


def _check_fresh(directories: list[Path]) -> None:
    for directory in directories:
        if (directory / OWN_CHECKPOINT).exists():
            raise InvalidInput(
                f"{directory}: holds a run that was begun alone; resume it alone "
                "(sparsefield.train.train), or give another directory"
            )


def check_same(path: Path, state: State, configs: list[TrainConfig]) -> None:
    """The checkpoint of a group is of these runs in this order."""
    held = [TrainConfig(**content) for content in state["configs"]]
    if len(held) != len(configs):
        raise InvalidInput(
            f"{path}: is of {len(held)} runs, {len(configs)} are given; resume the same runs in "
            "the same order, or give other directories"
        )
    for one, other in zip(held, configs, strict=True):
        if names := differences(one, other):
            raise InvalidInput(
                f"{path}: is of other runs (one differs in {', '.join(names)}); resume the same "
                "runs in the same order, or give other directories"
            )


def _check_recorded(open_directories: list[Path], state: State, directories: list[Path]) -> None:
    training = {directories[place] for place in state["training"]}
    for directory in open_directories:
        if directory not in training:
            raise InvalidInput(
                f"{directory}: its run has ended, but its record is gone; put it back, or delete "
                f"{directories[0] / CHECKPOINT} to start all runs over"
            )
