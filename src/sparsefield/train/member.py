"""One run among several that train together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from sparsefield.data import Dataset
from sparsefield.train.checkpoint import State
from sparsefield.train.config import TrainConfig
from sparsefield.train.optimizer import make_optimizer
from sparsefield.train.record import RESULT, Result, read_result
from sparsefield.train.rows import Layout, adopt
from sparsefield.train.runtime import Runtime
from sparsefield.train.training import Training


class Member(Training):
    """A run whose parameters are a row of its group's, and PyTorch's optimiser over that row.

    Everything but the gradients of a step is what it is alone: initial weights, order of the data,
    learning rate, clipping, optimiser, evaluation, monitor, record. ``seconds`` is its share of
    the group's time.
    """

    def __init__(
        self,
        config: TrainConfig,
        runtime: Runtime,
        directory: Path,
        dataset: Dataset,
        companions: int,
    ) -> None:
        super().__init__(config, runtime, directory, dataset)
        self.companions = companions
        self.layout = Layout(self.model)
        self.row = nn.Parameter(torch.zeros(self.layout.size, device=runtime.device))
        self.optimizer = make_optimizer(config, [("row", self.row)])
        self.scheduler = LambdaLR(self.optimizer, self.factor)

    def move(self, row: Tensor, gradients: Tensor) -> None:
        """Compute in this row of the group's parameters and gradients from now on."""
        adopt(self.model, self.layout, row, gradients)
        self.row.data, self.row.grad = row, gradients

    @property
    def watched(self) -> bool:
        """Whether the monitor measures this step."""
        return bool(self.monitor.every) and self.step % self.monitor.every == 0

    def look(self) -> Tensor:
        """Loss and gradients of this step from the member's own network, measured; the loss."""
        images, labels = self.batches.at(self.step)
        assert self.row.grad is not None
        self.row.grad.zero_()
        with self.monitor.at(self.step):
            loss = cross_entropy(self.model(images), labels)
            loss.backward()
        return loss.detach()

    def finish(self) -> Result:
        """Write the record, unless a part of this run that was killed has done so."""
        if (self.directory / RESULT).exists():
            return read_result(self.directory)
        return super().finish()

    def state(self) -> State:
        """As alone: the optimiser's state is that over the network's own parameters.

        Those are copied, since a view is saved with the parameters of the whole group.
        """
        state = super().state()
        own = {name: value.clone() for name, value in state["model"].items()}
        return {**state, "model": own, "optimizer": self.layout.split(state["optimizer"])}

    def restore(self, state: State | None) -> None:
        if state is not None:
            state = {**state, "optimizer": self.layout.join(state["optimizer"])}
        super().restore(state)

    def made_on(self) -> dict[str, Any]:
        """The hardware, and how many runs trained together on it."""
        return {**super().made_on(), "together": self.companions}

    def elapsed(self) -> float:
        return self.seconds
