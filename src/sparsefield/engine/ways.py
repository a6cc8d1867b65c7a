"""Which way each step of a training takes through its model, and what is to be kept of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from .choosing import DENSE, Choice, Chooser
from .switching import Forward, Switch, lay_moments
from .training import TrainingEngine

Asked = Literal["auto", "dense", "sparse"]


class Ways:
    """The steps of a training: dense, all layers on lists that can be, or by what is measured.

    Parameters
    ----------
    model
        to be trained.
    asked
        ``auto`` chooses as it goes.
    reason
        why no layer may run on lists, if something does not allow it; empty: nobody need know.
    total
        steps.
    known
        choices made before, which are replayed.
    note
        called with what is to be written down whenever there is a new choice, before the first
        step that follows it.

    Attributes
    ----------
    reason
        as given, None without one.
    module
        the model, as a step calls it.
    whole
        the engine of all layers that can run on lists, where some may.

    Raises
    ------
    InvalidInput
        what is known names layers that cannot run on lists here.
    """

    def __init__(
        self,
        model: nn.Module,
        asked: Asked,
        *,
        reason: str | None = None,
        total: int,
        known: Sequence[Choice] = (),
        note: Callable[[bytes], None],
    ) -> None:
        self.reason, self._asked, self._model = reason or None, asked, model
        self._switch = Switch(model) if asked != "dense" and reason is None else None
        self.module = self._switch.module if self._switch else model
        self.whole: TrainingEngine | None = self._switch.whole if self._switch else None
        self._layers = self.whole.on_lists if self.whole else ()
        first = self._layers if asked == "sparse" else DENSE
        self._chooser = Chooser(self._layers, total, note, first=first)
        self._chooser.know(known)
        self._optimizer: torch.optim.Optimizer | None = None
        self.take(-1, seen=False)  # copies for other processes are laid as the weights are

    def updated_by(self, optimizer: torch.optim.Optimizer) -> None:
        """Tell what updates the model; its moments will lie as the weights do."""
        self._optimizer = optimizer
        lay_moments(optimizer)
        if self._switch:
            self._switch.updated_by(optimizer)

    def take(self, step: int, *, seen: bool) -> Forward:
        """Make ready for a step: how this process calls the model in it, hooks heard or not."""
        if self._switch is None:
            return self._model
        return self._switch.turn_to(self._chooser.at(step).at(step), watched=seen)

    def took(self, step: int, seconds: float) -> None:
        """Learn how long a step has taken."""
        self._chooser.took(step, seconds)

    def look(self, step: int, zeros: Sequence[float]) -> None:
        """Learn the zeros by layer before a step."""
        if self._switch and self._asked == "auto":
            self._chooser.look(step, zeros)

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` goes on from: plain data."""
        choices = [choice.to_dict() for choice in self._chooser.choices]
        return {"choices": choices, "seconds": self._chooser.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state; empty: of before there was a choice. The optimiser's comes first."""
        held = [Choice.from_dict(values) for values in state.get("choices", ())]
        if len(held) > len(self._chooser.choices):
            self._chooser.know(held)
        self._chooser.seconds = dict(state.get("seconds", {}))
        assert self._optimizer is not None
        self.updated_by(self._optimizer)

    def told(self, step: int) -> dict[str, Any]:
        """For a record: how the step before this one went."""
        choice = self._chooser.at(step - 1)
        return {
            "asked": self._asked,
            "layers_on_lists": len(choice.at(step - 1)),
            "of": len(self._layers),
            "speedup": choice.speedup,
            "reason": self.reason,
        }
