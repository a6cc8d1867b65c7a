"""Several runs in memory that step together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import cast

import torch

from sparsefield.nn import DNN
from sparsefield.train.batched_network import BatchedDNN
from sparsefield.train.checkpoint import State, save_checkpoint
from sparsefield.train.config import TrainConfig
from sparsefield.train.graph import graphed
from sparsefield.train.interrupt import Interruption
from sparsefield.train.member import Member
from sparsefield.train.progress import Silent
from sparsefield.train.record import Result
from sparsefield.train.steps import Checkpoints

CHECKPOINT = "together"


class Group:
    """Members that step together until each of them has ended.

    Parameters
    ----------
    members
        The runs that are to be trained, all at one step.
    path
        The group's checkpoint, one file for all.
    configs
        Of all runs that belong together, those that have ended included.
    places
        Which of them the members are.

    Attributes
    ----------
    members
        Those still training: one that diverges is recorded, as it would be alone, and leaves.
    results
        Of those that have ended, by directory.
    """

    def __init__(
        self,
        members: Sequence[Member],
        path: Path,
        configs: Sequence[TrainConfig],
        places: Sequence[int],
    ) -> None:
        self.path, self.members, self.configs = path, list(members), list(configs)
        self._place = {m.directory: place for m, place in zip(members, places, strict=True)}
        self.digest, self.total = members[0].digest, members[0].total
        self.results: dict[Path, Result] = {}
        self._since = time.monotonic()
        self._stack()

    def _stack(self) -> None:
        """Give each member its row, and make the network and its buffers for as many."""
        first, device = self.members[0], self.members[0].runtime.device
        rows = torch.zeros(len(self.members), first.layout.size, device=device)
        gradients = torch.zeros_like(rows)
        for member, row, gradient in zip(self.members, rows, gradients, strict=True):
            member.move(row, gradient)
        models = [cast(DNN, member.model) for member in self.members]  # what grouping lets in
        self._network = BatchedDNN(models, first.layout, rows, gradients, first.config.batch)
        results = (self._network.losses, gradients)
        self._gradients: Callable[[], None] = graphed(self._network.step, results)

    @property
    def step(self) -> int:
        """Steps made."""
        return self.members[0].step

    def loop(self, shown: Silent, interruption: Interruption) -> bool:
        """Step to the end; False if an interruption ended it before, with a checkpoint saved."""
        self._begin()
        checkpoints = Checkpoints(self, shown, interruption, self.configs[0].checkpoint_every)
        while self.members and self.step < self.total:
            self.advance()
            self.record(shown)
            if checkpoints.interrupted():
                return False
            self.part()
        return True

    def _begin(self) -> None:
        for member in self.members:
            member.sparsity_init = member.sparsity_init or member.evaluate().sparsity
        if not self.path.exists():
            self.save()  # from here on it is settled that these runs train together
        self.part()

    def advance(self) -> None:
        """One optimiser step of every member."""
        if self.members[0].watched:
            losses = [member.look() for member in self.members]
        else:
            losses = self._together()
        for member, loss in zip(self.members, losses, strict=True):
            member.update(loss)

    def _together(self) -> list[torch.Tensor]:
        network = self._network
        for index, member in enumerate(self.members):
            images, labels = member.batches.at(member.step)
            network.images[index].copy_(images.flatten(1))
            network.labels[index].copy_(labels)
        self._gradients()
        return list(network.losses)

    def record(self, shown: Silent) -> None:
        """Add to each member's metrics what this step adds; show the median of those that train."""
        self._charge()
        silent = Silent()
        for member in self.members:
            member.record(silent)
        shown.advance()
        rows = [member.metrics[-1] for member in self.members if member.metrics]
        if rows and rows[0]["step"] == self.step:
            sparsity = [member.sparsity_now() for member in self.members]
            middle = {
                name: median([row[name] for row in rows]) for name in ("loss", "test_accuracy")
            }
            shown.report({**rows[0], **middle}, median(sparsity))

    def _charge(self) -> None:
        """Share the time since the last call among the members."""
        now = time.monotonic()
        for member in self.members:
            member.seconds += (now - self._since) / len(self.members)
        self._since = now

    def part(self) -> None:
        """Record the members that have diverged and go on with the others."""
        diverged = [member for member in self.members if member.diverged]
        if not diverged:
            return
        self.save()  # a recorded member may be left out only of a group that can go on without it
        self._finish(diverged)
        self.members = [member for member in self.members if member not in diverged]
        if self.members:
            self._stack()

    def finish(self) -> dict[Path, Result]:
        """Record every member that is left; the results of all, by directory."""
        if self.members:
            self.save()
            self._finish(self.members)
        return self.results

    def _finish(self, members: Sequence[Member]) -> None:
        self.results |= {member.directory: member.finish() for member in members}

    def save(self) -> None:
        """Write the checkpoint of the group."""
        save_checkpoint(self.path, self.configs[0], self.digest, self.state())

    def state(self) -> State:
        """The configs of all members, which of them still train, and the states of those."""
        return {
            "configs": [config.model_dump(mode="json") for config in self.configs],
            "companions": self.members[0].companions,
            "training": [self._place[member.directory] for member in self.members],
            "states": [member.state() for member in self.members],
        }

    def restore(self, state: State) -> None:
        """Go on from a state; one without states leaves the group at its beginning."""
        for member, held in zip(self.members, state.get("states", ()), strict=False):
            member.restore(held)
