"""Hooks on the modules that are counted, each call handed to its tally."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from sparsefield.energy.products import CONNECTIONS
from sparsefield.energy.tally import ActivationTally, LayerTally


class Watch:
    """Tallies of every layer and activation of a model, in the order of their first call.

    A layer that is called several times a pass is one layer with one set of weights. An activation
    module that is called several times a pass stands at several places: a tally for each.
    """

    def __init__(
        self,
        model: nn.Module,
        activations: tuple[type[nn.Module], ...],
        carrying: Collection[nn.Module],
    ) -> None:
        self._names: dict[nn.Module, str] = {}
        for name, module in model.named_modules():
            self._names[module] = name or type(module).__name__
        self._activations = activations
        self._carrying = carrying
        self._turns: Counter[nn.Module] = Counter()
        self._tallies: dict[tuple[nn.Module, int], LayerTally | ActivationTally] = {}

    def begin(self) -> None:
        """A pass begins: the next call of each module is its first."""
        self._turns.clear()

    def layers(self) -> list[LayerTally]:
        """Those of the layers that were called."""
        return [tally for tally in self._tallies.values() if isinstance(tally, LayerTally)]

    def activations(self) -> list[ActivationTally]:
        """Those of the activations that were called."""
        return [tally for tally in self._tallies.values() if isinstance(tally, ActivationTally)]

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Hooks that last as long as the block."""
        watched: tuple[type[nn.Module], ...] = (*CONNECTIONS, *self._activations)
        handles = [
            module.register_forward_hook(self._see, with_kwargs=True)
            for module in self._names
            if isinstance(module, watched)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _see(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> None:
        x: Tensor = args[0] if args else next(iter(kwargs.values()))
        self._tally(module).see(x.detach(), output.detach())

    def _tally(self, module: nn.Module) -> LayerTally | ActivationTally:
        if isinstance(module, CONNECTIONS):
            if (module, 0) not in self._tallies:
                carrying = module in self._carrying
                self._tallies[module, 0] = LayerTally(self._names[module], module, carrying)
            return self._tallies[module, 0]
        self._turns[module] += 1
        turn = self._turns[module]
        if (module, turn) not in self._tallies:
            name = self._names[module] + (f"#{turn}" if turn > 1 else "")
            self._tallies[module, turn] = ActivationTally(name, module)
        return self._tallies[module, turn]
