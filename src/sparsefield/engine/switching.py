"""A model whose layers go on lists, and off them, from one training step to the next."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.nn.hold import Tell

from .choosing import Way
from .fused import Fused
from .training import TrainingEngine
from .watched import Watched

Forward = Callable[[Tensor], Tensor]


class Switch:
    """A model over whose parameters each step takes a way of its own.

    Weights on lists lie input-major, others as PyTorch has them, for each is faster so: a dense
    step on weights that lie otherwise takes 4 to 13 % longer.

    Parameters
    ----------
    model
        that :class:`TrainingEngine` can take.

    Attributes
    ----------
    module
        the model, as a step calls it: by the way last turned to.
    whole
        the engine of all layers that can run on lists.
    """

    def __init__(self, model: nn.Module) -> None:
        self.module, self.whole, self._model = _Switched(model), TrainingEngine(model), model
        self._engines: dict[Way, TrainingEngine] = {self.whole.on_lists: self.whole}
        self._watched: dict[Way, Watched] = {}
        self._optimizer: torch.optim.Optimizer | None = None
        self._way: Way | None = None

    def updated_by(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep the moments of this optimiser as the weights lie; those it has may lie anyhow."""
        self._optimizer, self._way = optimizer, None

    def turn_to(self, way: Way, *, watched: bool) -> Forward:
        """Take this way from now on: how to call the model, with its hooks heard or not."""
        if way != self._way:
            self._lay(way)
        if not way:
            return self.module.by(self._model)
        return self.module.by(self._seen(way) if watched else self._engine(way))

    def _engine(self, way: Way) -> TrainingEngine:
        if way not in self._engines:
            self._engines[way] = TrainingEngine(self._model, lists=way)
        return self._engines[way]

    def _seen(self, way: Way) -> Watched:
        if way not in self._watched:
            self._watched[way] = Watched(self._engine(way), self._model)
        return self._watched[way]

    def _lay(self, way: Way) -> None:
        self._way = way
        engine = self._engine(way) if way else None
        for parameter in self._model.parameters():
            parameter.data = parameter.data.contiguous()
        for segment in engine.segments if engine else ():
            segment.lay()
        if engine and isinstance(self._optimizer, Fused):
            self._optimizer.follow(engine)
        if self._optimizer:
            lay_moments(self._optimizer)


class _Switched(nn.Module):
    """The model's parameters and what runs them at the moment; no attribute is a part of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for shared in ("_modules", "_parameters", "_buffers"):
            self.__dict__[shared] = model.__dict__[shared]
        self.by(model)

    def by(self, run: Forward) -> Forward:
        self.__dict__["_run"] = run
        return run

    def telling(self, tell: Tell, *, look: bool) -> AbstractContextManager[Any] | None:
        run = self.__dict__["_run"]
        return run.telling(tell, look=look) if isinstance(run, TrainingEngine) else None

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.__dict__["_run"](x)
        return output


def lay_moments(optimizer: torch.optim.Optimizer) -> None:
    """Hold moments in memory as their parameters lie: torch's fused updates walk both as one."""
    for parameter, state in optimizer.state.items():
        for name, held in state.items():
            alike = isinstance(held, Tensor) and held.shape == parameter.shape
            if alike and held.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(held)
