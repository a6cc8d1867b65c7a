"""The passes of a model inside one block: the hooks that see them, and what they have seen."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sparsefield.watch.call import Call, Place
from sparsefield.watch.layout import Layout

See = Callable[[Call], Tensor | None]
Told = Callable[[Place, Tensor], None]
_NAMED = 5  # modules that a warning names


class Passes:
    """What a block expects to see, and what it has seen.

    Attributes
    ----------
    expected
        names of the watched modules.
    fired
        those that were called and seen.
    laps
        passes of the model that have begun.
    """

    def __init__(
        self, layout: Layout, see: See, before: Told | None, gradient: Told | None
    ) -> None:
        self.expected: tuple[str, ...] = ()
        self.fired: set[str] = set()
        self.laps = 0
        self._layout, self._see, self._before, self._gradient = layout, see, before, gradient
        self._handles: list[RemovableHandle] = []
        self._turns: Counter[str] = Counter()
        self._places: dict[str, Place] = {}
        self._order = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the modules that were not seen."""
        return tuple(name for name in self.expected if name not in self.fired)

    def warn(self) -> None:
        """Warn in one line if the model ran and some modules were not seen."""
        missing = self.missing
        if self.laps and missing:
            names = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
            warnings.warn(
                f"{len(missing)} of {len(self.expected)} watched modules were not called while "
                f"the model ran: {names}; what is compiled, fused or unused calls no module, so "
                "watch the model as it was before",
                stacklevel=2,
            )

    def attach(self, model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
        """Hook the model, the layers that give the layout, and every module to be watched."""
        self.expected = tuple(modules)
        keep = self._handles.append
        keep(model.register_forward_pre_hook(_Hook(self._begin)))
        for layer in self._layout.layers:
            keep(layer.register_forward_hook(_Hook(self._layout.after)))
        for name, module in modules.items():
            if self._before or self._gradient:
                enter = _Hook(self._enter, name)
                keep(module.register_forward_pre_hook(enter, with_kwargs=True))
            keep(module.register_forward_hook(_Hook(self._leave, name), with_kwargs=True))

    def detach(self) -> None:
        """Take every hook off, those on tensors included."""
        while self._handles:
            self._handles.pop().remove()

    def _begin(self, *_: Any) -> None:
        self.laps += 1
        self._order = 0
        self._turns.clear()
        self._layout.begin()

    def _next(self, name: str) -> Place:
        self._turns[name] += 1
        self._order += 1
        return Place(name, self._turns[name], self._order - 1, self.laps)

    def _enter(self, name: str, _: nn.Module, args: Any, kwargs: Any) -> None:
        read = _first_tensor(args, kwargs)
        if read is None:
            return
        place = self._places[name] = self._next(name)
        if self._before is not None:
            self._before(place, read)
        # an in-place module gives its input another history: the hook belongs to the one before
        if self._gradient is not None and read.requires_grad:
            self._handles.append(read.register_hook(partial(self._gradient, place)))

    def _leave(
        self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any
    ) -> Tensor | None:
        read = _first_tensor(args, kwargs)
        if read is None or not isinstance(output, Tensor):
            return None
        self.fired.add(name)
        place = self._places.pop(name, None) or self._next(name)
        return self._see(Call(place, module, read, output, self._layout.units(output)))


class _Hook(partial[Any]):
    """A hook that a copy or a pickle of its module does not take along."""

    def __reduce__(self) -> Any:
        return _Nothing, ()


class _Nothing:
    """What a copy has in a hook's place."""

    def __call__(self, *_: Any) -> None:
        """See nothing."""


def _first_tensor(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    return next((each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)), None)
