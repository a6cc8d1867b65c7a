"""Whether the layers of a run can go on lists, and its ways through the network."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import torch
from torch import nn

from sparsefield.engine import accelerate
from sparsefield.engine.choosing import read_choices, worthwhile
from sparsefield.engine.ways import Ways
from sparsefield.errors import InvalidInput
from sparsefield.theory import Point
from sparsefield.train.atomic import write_bytes
from sparsefield.train.config import TrainConfig
from sparsefield.train.network import Shape, build
from sparsefield.train.runtime import Runtime

ENGINE = "engine.json"


def ways_of(
    config: TrainConfig, point: Point, model: nn.Module, runtime: Runtime, total: int, out: Path
) -> Ways:
    """The ways of a run of ``total`` steps; ``auto`` replays what ``engine.json`` holds.

    Raises
    ------
    InvalidInput
        The file is damaged, or chooses lists where there can be none.
    """
    auto, path = config.engine == "auto", out / ENGINE
    return Ways(
        model,
        config.engine,
        reason=_unwanted(config, point, model, runtime) if auto else None,
        total=total,
        known=read_choices(path) if auto else (),
        note=partial(write_bytes, path),
    )


def _unwanted(config: TrainConfig, point: Point, model: nn.Module, runtime: Runtime) -> str | None:
    """Why ``engine="auto"`` runs dense without measuring; empty where that goes without saying."""
    if runtime.world_size > 1:
        return "auto measures in one process alone; engine sparse takes several"
    reason = obstacle(config, point, runtime.device)
    return "" if reason is None and not worthwhile(model, config.batch) else reason


def check_engine(config: TrainConfig, point: Point, device: torch.device) -> None:
    """Refuse ``engine="sparse"`` where it cannot be, before anything is written.

    Raises
    ------
    InvalidInput
        The reason in one line.
    """
    reason = obstacle(config, point, device) if config.engine == "sparse" else None
    if reason is not None:
        raise InvalidInput(f"engine=sparse: {reason}; choose engine dense or auto")


def obstacle(config: TrainConfig, point: Point, device: torch.device) -> str | None:
    """Why a run cannot train on lists; None where it can."""
    if config.precision != "fp32":
        return f"precision={config.precision}, and lists are of float32"
    if device.type != "cpu":
        return f"device={device.type}, and lists are for the CPU"
    if config.threshold is not None:
        return "thresholds that rise are not those that the lists were made for"
    if config.norm != "none":
        return f"norm={config.norm} stands between every product and its activation"
    short = config.model_copy(update={"depth": 2, "strides": ()})
    image = (8, 8) if config.network == "cnn" else ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what runs dense is no matter of the user's here
        try:
            model = build(short, Shape(1, 2), point=point)
            accelerate(model, torch.zeros(1, 1, *image), train=True)
        except InvalidInput as error:
            return str(error)
    return None
