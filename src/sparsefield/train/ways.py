"""The ways that a run's steps take through its network: dense, or layers on lists."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsefield import accelerate
from sparsefield.engine.choosing import DENSE, Choice, Chooser, read_choices, worthwhile
from sparsefield.engine.switching import Forward, Switch, lay_moments
from sparsefield.errors import InvalidInput
from sparsefield.theory import Point
from sparsefield.train.atomic import write_bytes
from sparsefield.train.config import TrainConfig
from sparsefield.train.network import Shape, build
from sparsefield.train.optimizer import make_optimizer
from sparsefield.train.runtime import Runtime

ENGINE = "engine.json"


class Ways:
    """Which way a step takes, and what follows from it for the optimiser and the record.

    What ``auto`` chooses is written to ``engine.json`` before the first step that follows it, and
    taken from there where it is known.

    Parameters
    ----------
    config, model, runtime, total, directory
        Of the run: ``total`` is its steps.
    reason
        Why nothing may run on lists, if something does not allow it.

    Attributes
    ----------
    forward, optimizer
        The model, as a step calls it; of its parameters.

    Raises
    ------
    InvalidInput
        ``engine.json`` is damaged, or chooses lists where there can be none.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        runtime: Runtime,
        total: int,
        directory: Path,
        reason: str | None,
    ) -> None:
        self.reason, self._asked, self._model = reason, config.engine, model
        pays = config.engine == "sparse" or worthwhile(model, config.batch)
        lists = config.engine != "dense" and reason is None and pays
        self._switch = Switch(model) if lists else None
        layers = self._switch.whole.on_lists if self._switch else ()
        path, first = directory / ENGINE, layers if config.engine == "sparse" else DENSE
        self._layers = layers
        self._chooser = Chooser(layers, total, partial(write_bytes, path), first=first)
        if config.engine == "auto":
            self._chooser.know(read_choices(path))
        self.take(-1, seen=False)  # copies for other processes are laid as the weights are
        self.forward = runtime.setup_module(self._switch.module if self._switch else model)
        fuses = self._switch and config.grad_clip is None and runtime.world_size == 1
        whole = self._switch.whole if self._switch and fuses else None
        self.optimizer = make_optimizer(config, model.named_parameters(), whole)
        if self._switch:
            self._switch.updated_by(self.optimizer)

    def take(self, step: int, *, seen: bool) -> Forward:
        """Make ready for a step: how this process calls the network in it, hooks heard or not."""
        if self._switch is None:
            return self._model
        return self._switch.turn_to(self._chooser.at(step).at(step), watched=seen)

    def took(self, step: int, seconds: float) -> None:
        """Learn how long a step has taken."""
        self._chooser.took(step, seconds)

    def look(self, step: int, zeros: tuple[float, ...]) -> None:
        """Learn the zeros by layer before a step."""
        if self._switch and self._asked == "auto":
            self._chooser.look(step, zeros)

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        choices = [choice.to_dict() for choice in self._chooser.choices]
        return {"choices": choices, "seconds": self._chooser.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state; the optimiser's is loaded before."""
        held = [Choice.from_dict(values) for values in state.get("choices", ())]
        if len(held) > len(self._chooser.choices):
            self._chooser.know(held)
        self._chooser.seconds = dict(state.get("seconds", {}))
        lay_moments(self.optimizer)
        if self._switch:
            self._switch.updated_by(self.optimizer)

    def told(self, step: int) -> dict[str, Any]:
        """What ``result.json`` says of the steps before one."""
        choice = self._chooser.at(step - 1)
        return {
            "asked": self._asked,
            "layers_on_lists": len(choice.at(step - 1)),
            "of": len(self._layers),
            "speedup": choice.speedup,
            "reason": self.reason,
        }


def unwanted(config: TrainConfig, point: Point, runtime: Runtime) -> str | None:
    """Why ``engine="auto"`` cannot measure and runs dense; None where it can."""
    if config.engine != "auto":
        return None
    if runtime.world_size > 1:
        return "auto measures in one process alone; engine sparse takes several"
    return obstacle(config, point, runtime.device)


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
