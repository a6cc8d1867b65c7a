"""The passes of a model inside one block: what is to be seen of them, and what has been."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sparsefield.errors import InvalidInput
from sparsefield.watch.call import Call, Place
from sparsefield.watch.calling import Run
from sparsefield.watch.kinds import modules_of
from sparsefield.watch.layout import Layout
from sparsefield.watch.tensors import first, outside, replaced, transformed, unwrapped

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
    inside
        names of the model's modules that are at work, outermost first.
    functions
        activations that no watched module is, if that was asked for: in which module, and which.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: Mapping[str, nn.Module],
        see: See,
        before: Told | None,
        gradient: Told | None,
        said: set[str],
    ) -> None:
        self.expected = tuple(modules)
        self._expected = frozenset(modules)
        self.fired: set[str] = set()
        self.laps = 0
        self.inside: list[str] = []
        self.functions: dict[tuple[str, str], None] = {}
        self._see, self._before, self._gradient = see, before, gradient
        self._said = said
        self._layout = Layout(model)
        self._watched = {id(module): name for name, module in modules.items()}
        parts = modules_of(model, lambda _: True).items()
        self._names = {id(part): name for name, part in parts} | self._watched
        # the one that was compiled may be called by what it was compiled to, or alone
        self._roots = (id(model), id(getattr(model, "_orig_mod", model)))
        self._handles: list[RemovableHandle] = []
        self._turns: Counter[str] = Counter()
        self._unhooked: list[tuple[Place, Tensor]] = []
        self._order = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the modules that were not seen."""
        return tuple(name for name in self.expected if name not in self.fired)

    def warn(self) -> None:
        """Warn in one line, once a watch, of what was not seen while the model ran."""
        if self.laps:
            self._say(
                list(self.missing),
                "{} of {} watched modules were not called while the model ran: {}; what is "
                "scripted, replicated, unused, or used by its weights alone calls no module",
            )
            self._say(
                [f"{function} in {where}" for where, function in self.functions],
                "{} activations beside {} watched modules are not seen: {}; use torch.nn.ReLU or "
                "the modules of sparsefield.nn",
            )

    def _say(self, names: list[str], message: str) -> None:
        new = [name for name in names if name not in self._said]
        if new:
            self._said.update(new)
            told = ", ".join(new[:_NAMED]) + (", ..." if len(new) > _NAMED else "")
            warnings.warn(message.format(len(new), len(self.expected), told), stacklevel=3)

    def function(self, name: str) -> None:
        """An activation was called as a function."""
        if self.inside and not self._expected.intersection(self.inside):
            self.functions[self.inside[-1], name] = None

    def detach(self) -> None:
        """Take every hook off the tensors that were read."""
        while self._handles:
            self._handles.pop().remove()

    def begin(self, model: nn.Module) -> None:
        """A pass of ``model`` begins, which may be this one."""
        if id(model) in self._roots:
            self.laps += 1
            self._order = 0
            self._turns.clear()
            self._layout.begin()

    def call(self, module: nn.Module, args: Any, kwargs: Any, run: Run) -> Any:
        """Make a call of any module, and see it if it is one of the watched."""
        name = self._names.get(id(module))
        if name is None or torch.compiler.is_compiling():
            return run()
        if torch._C._current_graph_task_id() != -1:  # a checkpoint, while gradients flow
            self._again(name, first((args, kwargs)))
            return run()
        if not self.inside:
            self.begin(module)
        read = first((args, kwargs)) if id(module) in self._watched else None
        place = None if read is None else self._enter(name, read)
        self.inside.append(name)
        try:
            output = run()
            self._layout.after(module, output)
            return output if read is None else self._leave(name, place, module, read, output)
        finally:
            self.inside.pop()

    def _next(self, name: str) -> Place:
        self._turns[name] += 1
        self._order += 1
        return Place(name, self._turns[name], self._order - 1, self.laps)

    def _enter(self, name: str, read: Tensor) -> Place | None:
        if self._before is None and self._gradient is None:
            return None
        place = self._next(name)
        if self._before is not None:
            with outside():
                self._before(place, unwrapped(read))
        if self._gradient is not None and read.requires_grad:
            # an in-place module gives its input another history: this belongs to the one before
            self._follow(place, read)
        elif self._gradient is not None and not torch.is_grad_enabled():
            with outside():
                self._unhooked.append((place, unwrapped(read).sum()))
        return place

    def _leave(
        self, name: str, place: Place | None, module: nn.Module, read: Tensor, output: Any
    ) -> Any:
        y = first(output)
        if y is None:
            return output
        self.fired.add(name)
        place = place or self._next(name)
        with outside():
            put = unwrapped(y)
            new = self._see(Call(place, module, unwrapped(read), put, self._layout.units(put)))
        if new is None:
            return output
        if transformed():
            raise InvalidInput(
                f"{place}: runs inside a transform of torch.func, where nothing can stand in its "
                "output's place; call the model itself"
            )
        return replaced(output, y, new)

    def _again(self, name: str, read: Tensor | None) -> None:
        """A checkpoint without gradients computes a call anew, to have them: no other call."""
        if read is None or not read.requires_grad:
            return
        total = read.detach().sum()
        for index, (place, before) in enumerate(self._unhooked):
            if place.name == name and torch.equal(before, total):
                del self._unhooked[index]
                self._follow(place, read)
                return

    def _follow(self, place: Place, read: Tensor) -> None:
        self._handles.append(read.register_hook(partial(self._flows, place)))

    def _flows(self, place: Place, gradient: Tensor) -> None:
        assert self._gradient is not None
        with outside():
            self._gradient(place, unwrapped(gradient))
