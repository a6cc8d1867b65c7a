"""The ways that a run's steps take through its network: dense, or layers on lists."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield import accelerate
from sparsefield.engine.choosing import DENSE, Choice, Chooser, Way, worthwhile
from sparsefield.engine.training import TrainingEngine
from sparsefield.engine.watched import Watched
from sparsefield.errors import InvalidInput
from sparsefield.theory import Point
from sparsefield.train.atomic import write_bytes
from sparsefield.train.config import TrainConfig
from sparsefield.train.network import Shape, build
from sparsefield.train.optimizer import make_optimizer
from sparsefield.train.runtime import Runtime

ENGINE = "engine.json"
Forward = Callable[[Tensor], Tensor]


class Plain:
    """Every step dense, as PyTorch has it.

    Attributes
    ----------
    forward
        the network, as a step calls it.
    optimizer
        of its parameters.
    reason
        why nothing runs on lists, where that was asked for.
    """

    forward: nn.Module
    optimizer: torch.optim.Optimizer

    def __init__(
        self, config: TrainConfig, model: nn.Module, runtime: Runtime, reason: str | None = None
    ) -> None:
        self.reason, self._asked, self._model = reason, config.engine, model
        self.forward = runtime.setup_module(model)
        self.optimizer = make_optimizer(config, model.named_parameters())

    def take(self, step: int, *, seen: bool) -> Forward:
        """Make ready for a step: how this process calls the network in it, hooks heard or not."""
        return self._model

    def took(self, step: int, seconds: float) -> None:
        """Learn how long a step has taken."""

    def look(self, step: int, zeros: tuple[float, ...]) -> None:
        """Learn the zeros by layer before a step."""

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state; the optimiser's is loaded before."""
        lay_moments(self.optimizer)

    def told(self, step: int) -> dict[str, Any]:
        """What ``result.json`` says of the steps before one."""
        return {
            "asked": self._asked,
            "layers_on_lists": 0,
            "of": 0,
            "speedup": None,
            "reason": self.reason,
        }


class OnLists(Plain):
    """Layers on lists: all that can, or with ``engine="auto"`` those that are faster so.

    What ``auto`` chooses is written to ``engine.json`` before the first step that follows it, and
    taken from there where it is known.
    """

    def __init__(
        self, config: TrainConfig, model: nn.Module, runtime: Runtime, total: int, directory: Path
    ) -> None:
        self.reason, self._asked, self._model = None, config.engine, model
        whole = TrainingEngine(model)
        self._layers, self._engines, self._watched = whole.on_lists, {whole.on_lists: whole}, {}
        self._fuses = config.grad_clip is None and runtime.world_size == 1
        self._way: Way | None = None
        self._dispatch = _Dispatch(model)
        self.forward = runtime.setup_module(self._dispatch)
        parameters = model.named_parameters()
        self.optimizer = make_optimizer(config, parameters, whole if self._fuses else None)
        self._path = directory / ENGINE
        first = self._layers if config.engine == "sparse" else DENSE
        self._chooser = Chooser(self._layers, total, self._write, first=first)
        if config.engine == "auto":
            self._chooser.know(read_choices(self._path))

    def take(self, step: int, *, seen: bool) -> Forward:
        way = self._chooser.at(step).at(step)
        if way != self._way:
            self._turn_to(way)
        if way and seen and way not in self._watched:
            self._watched[way] = Watched(self._engine(way), self._model)
        engine = self._watched[way] if way and seen else self._engine(way) if way else self._model
        self._dispatch.run = engine.__call__  # a module would be a part
        return self._dispatch.run

    def took(self, step: int, seconds: float) -> None:
        self._chooser.took(step, seconds)

    def look(self, step: int, zeros: tuple[float, ...]) -> None:
        if self._asked == "auto":
            self._chooser.look(step, zeros)

    def state(self) -> dict[str, Any]:
        choices = [choice.to_dict() for choice in self._chooser.choices]
        return {"choices": choices, "seconds": self._chooser.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        held = [Choice.from_dict(values) for values in state.get("choices", ())]
        if len(held) > len(self._chooser.choices):
            self._chooser.know(held)
        self._chooser.seconds = dict(state.get("seconds", {}))
        self._way = None

    def told(self, step: int) -> dict[str, Any]:
        choice = self._chooser.at(step - 1)
        return super().told(step) | {
            "layers_on_lists": len(choice.at(step - 1)),
            "of": len(self._layers),
            "speedup": choice.speedup,
        }

    def _engine(self, way: Way) -> TrainingEngine:
        if way not in self._engines:
            self._engines[way] = TrainingEngine(self._model, lists=way)
        return self._engines[way]

    def _turn_to(self, way: Way) -> None:
        """Weights on lists lie input-major, others as PyTorch has them: each is faster so."""
        self._way = way
        engine = self._engine(way) if way else None
        for parameter in self._model.parameters():
            parameter.data = parameter.data.contiguous()
        if engine is not None:
            for segment in engine.segments:
                segment.lay()
            if self._fuses:
                self.optimizer.follow(engine)  # type: ignore[attr-defined]
        lay_moments(self.optimizer)

    def _write(self, choices: list[Choice]) -> None:
        content = [choice.to_dict() for choice in choices]
        write_bytes(self._path, f"{json.dumps({'choices': content}, indent=1)}\n".encode())


class _Dispatch(nn.Module):
    """The model's parameters, run by what ``run`` is at the moment."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for shared in ("_modules", "_parameters", "_buffers"):
            self.__dict__[shared] = model.__dict__[shared]
        self.run: Forward = model.__call__

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def ways(
    config: TrainConfig,
    point: Point,
    model: nn.Module,
    runtime: Runtime,
    *,
    total: int,
    directory: Path,
) -> Plain:
    """The ways of a run by its config: ``auto`` is dense where lists cannot be or do not pay.

    Raises
    ------
    InvalidInput
        ``engine.json`` is damaged, or chooses lists where there can be none.
    """
    if config.engine == "dense":
        return Plain(config, model, runtime)
    if config.engine == "sparse":
        return OnLists(config, model, runtime, total, directory)
    reason = obstacle(config, point, runtime)
    if reason is None and runtime.world_size > 1:
        reason = "auto measures in one process alone; engine sparse takes several"
    if reason is None and not worthwhile(model, config.batch):
        reason = "too small a network to gain by lists"
    if reason is None:
        return OnLists(config, model, runtime, total, directory)
    if any(way for choice in read_choices(directory / ENGINE) for way in choice.ways):
        raise InvalidInput(
            f"{directory / ENGINE}: chooses layers on lists, and here there are none ({reason}); "
            "go on where it was made"
        )
    return Plain(config, model, runtime, reason)


def check_engine(config: TrainConfig, point: Point, runtime: Runtime) -> None:
    """Refuse ``engine="sparse"`` where it cannot be, before anything is written.

    Raises
    ------
    InvalidInput
        The reason in one line.
    """
    if config.engine != "sparse":
        return
    if (reason := obstacle(config, point, runtime)) is not None:
        raise InvalidInput(f"engine=sparse: {reason}; choose engine dense or auto")


def obstacle(config: TrainConfig, point: Point, runtime: Runtime) -> str | None:
    """Why a run cannot train on lists; None where it can."""
    if config.precision != "fp32":
        return f"precision={config.precision}, and lists are of float32"
    if runtime.device.type != "cpu":
        return f"device={runtime.device.type}, and lists are for the CPU"
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


def read_choices(path: Path) -> list[Choice]:
    """The choices in an ``engine.json``; none where there is no such file.

    Raises
    ------
    InvalidInput
        It is damaged.
    """
    if not path.exists():
        return []
    try:
        return [Choice.from_dict(values) for values in json.loads(path.read_bytes())["choices"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path}: is damaged ({type(error).__name__}); bring it back, or delete the run"
        ) from None


def lay_moments(optimizer: torch.optim.Optimizer) -> None:
    """Hold moments in memory as their parameters lie: torch's fused updates walk both as one."""
    for parameter, state in optimizer.state.items():
        for name, held in state.items():
            alike = isinstance(held, Tensor) and held.shape == parameter.shape
            if alike and held.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(held)
