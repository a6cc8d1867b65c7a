"""A model of any class with pieces in it: by its trace, or by those of its parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .calling import Form, arguments, form_of
from .layers import holds_layers, hooked, is_layer, obstacle, product_of
from .native import Storage, kernels
from .partition import Run, assembled, looked_into, partition
from .piece import Piece
from .products import Chain
from .tracing import CannotTrace, OtherShapes, Trace, compiled, traced
from .twins import twin_of

_MISSING = "convolutions need the compiled kernels, which are not built here"
_LISTS = "lists_"  # an attribute of a trace's root, with a number


class Body(Protocol):
    """What runs a model.

    Attributes
    ----------
    pieces
        by name.
    reasons
        why layers are in no piece, by name.
    """

    pieces: dict[str, Piece]
    reasons: dict[str, str]

    def keep(self, names: Collection[str]) -> None:
        """Call these pieces from now on; of the others, the modules."""

    def left(self) -> dict[str, list[str]]:
        """What runs as it is: names, by class of the module or name of the function."""

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The model's output."""


class Traced:
    """A model's trace with runs of its nodes as pieces.

    Modules that the tracer does not enter, but that hold layers, have these replaced.

    Parameters
    ----------
    trace
        of a twin of the model.
    form
        of the calls that it is for.
    plain
        another twin, for calls of another form.
    storage
        of the weights.
    """

    def __init__(self, trace: Trace, form: Form, plain: nn.Module, storage: Storage) -> None:
        self._trace, self._form, self._plain, self._bare = trace, form, plain, form.bare
        parted = partition(trace)
        self.reasons = parted.reasons
        self._runs: dict[str, Run] = {}
        self.pieces: dict[str, Piece] = {}
        for run in parted.runs:
            if _missing(run.chain):
                self.reasons |= {product.name: _MISSING for product in run.chain.products}
                continue
            piece = Piece(run.chain, run.steps, storage)
            name = _free(piece.name, self.pieces)
            self._runs[name], self.pieces[name] = run, piece
        self._inner = [Replaced(leaf, storage, name) for name, leaf in _leaves(trace)]
        for inner in self._inner:
            self.pieces |= inner.pieces
            self.reasons |= inner.reasons
        self.keep(self.pieces)

    @property
    def name(self) -> str:
        """Of the module in the model, where it is a part of one."""
        return self._trace.name

    def keep(self, names: Collection[str]) -> None:
        """See :class:`Body`."""
        runs = {name: run for name, run in self._runs.items() if name in names}
        at = {name: f"{_LISTS}{index}" for index, name in enumerate(runs)}
        vars(self._trace.root).update({at[name]: self.pieces[name] for name in runs})
        ends = looked_into(self._trace, runs.values())
        for name, run in runs.items():
            self.pieces[name].contiguous = run.nodes[-1] in ends
        self.graph = assembled(self._trace, {at[name]: run for name, run in runs.items()})
        self._forward = compiled(self.graph)
        for inner in self._inner:
            inner.keep(names)

    def left(self) -> dict[str, list[str]]:
        """See :class:`Body`."""
        found: dict[str, list[str]] = {}
        for node in self.graph.nodes:
            target = str(node.target)
            if node.op == "call_module" and not target.startswith(_LISTS):
                kind = type(self._trace.root.get_submodule(target)).__name__
                found.setdefault(kind, []).append(self._trace.named(target))
            elif node.op in ("call_function", "call_method"):
                kind = getattr(node.target, "__name__", target)
                found.setdefault(kind, []).append(self._trace.named(node.name))
        return found

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See :class:`Body`."""
        bare = not kwargs and len(args) == self._bare and all(isinstance(x, Tensor) for x in args)
        tensors = args if bare else self._form.tensors_of(args, kwargs)
        if tensors is None:
            return self._plain(*args, **kwargs)
        try:
            return self._trace.result(self._forward(self._trace.root, *tensors))
        except OtherShapes:
            return self._plain(*args, **kwargs)


class Replaced:
    """A twin of a model that is not traced as a whole: its parts that can be are, else its layers.

    A layer alone finds the zeros itself in what it reads.

    Parameters
    ----------
    root
        the twin, in evaluation mode.
    storage
        of the weights.
    name
        of the root in the model, where it is a part of one.
    call
        of the root, by which its parts are traced; without one its layers are replaced one by one.
    """

    def __init__(
        self,
        root: nn.Module,
        storage: Storage,
        name: str = "",
        call: tuple[tuple[Any, ...], Mapping[str, Any]] | None = None,
    ) -> None:
        self.pieces: dict[str, Piece] = {}
        self.reasons: dict[str, str] = {}
        self._root, self._storage = root, storage
        self._layers: dict[str, nn.Module] = {}
        self._parts: list[tuple[nn.Module, _Part]] = []
        self._calls = {} if call is None else _first_calls(root, *call)
        self._met: set[nn.Module] = set()
        self._meet(root, name)
        self._calls = {}  # they hold tensors
        self.keep(self.pieces)

    def _meet(self, module: nn.Module, name: str) -> None:
        """Replace a module, or those in it."""
        if module in self._met:
            return
        self._met.add(module)
        if is_layer(module):
            self._replace(module, name)
        elif not self._trace(module, name):
            for inner, child in module.named_children():
                self._meet(child, f"{name}.{inner}" if name else inner)

    def _replace(self, layer: nn.Module, name: str) -> None:
        reason = obstacle(layer)
        if reason is None:
            chain = Chain((product_of(layer, name),))
            reason = _MISSING if _missing(chain) else None
        if reason is not None:
            self.reasons[name] = reason
            return
        piece = self.pieces[name] = Piece(chain, (layer.forward,), self._storage)
        piece.contiguous = True  # nobody knows who looks
        self._layers[name] = layer

    def _trace(self, module: nn.Module, name: str) -> bool:
        """Whether a module is a part that could be traced, and is now replaced as one."""
        if module not in self._calls or hooked(module) or not holds_layers(module):
            return False
        form, tensors = form_of(*arguments(module, *self._calls[module]))
        try:
            trace = traced(module, form, tensors, name)
        except CannotTrace:
            return False
        body = Traced(trace, form, twin_of(module), self._storage)
        self._parts.append((module, _Part(module, body)))
        self.pieces |= body.pieces
        self.reasons |= body.reasons
        return True

    def keep(self, names: Collection[str]) -> None:
        """See :class:`Body`."""
        for name, layer in self._layers.items():
            vars(layer).pop("forward", None)
            if name in names:
                vars(layer)["forward"] = self.pieces[name]
        for module, part in self._parts:
            vars(module).pop("forward", None)
            part.body.keep(names)
            if not part.body.pieces.keys().isdisjoint(names):
                vars(module)["forward"] = part

    def left(self) -> dict[str, list[str]]:
        """See :class:`Body`; functions are known in traced parts alone."""
        found: dict[str, list[str]] = {}
        parts = tuple(part.body.name for _, part in self._parts)
        for name, module in self._root.named_modules():
            inside = any(name == part or name.startswith(f"{part}.") for part in parts)
            if module._parameters and "forward" not in vars(module) and not inside:
                found.setdefault(type(module).__name__, []).append(name)
        for _, part in self._parts:
            for kind, names in part.body.left().items():
                found.setdefault(kind, []).extend(names)
        return found

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See :class:`Body`."""
        return self._root(*args, **kwargs)


class _Part:
    """The forward of a module that is traced, in a model that is not."""

    def __init__(self, module: nn.Module, body: Traced) -> None:
        self.body, self._module = body, module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.body(*arguments(self._module, args, kwargs))


def _first_calls(
    root: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]]:
    """By module inside, the arguments of its first call in a call of the root."""
    seen: dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def noted(module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        seen.setdefault(module, (args, kwargs))
        return forward(*args, **kwargs)

    inner = [module for module in root.modules() if module is not root and not hooked(module)]
    for module in inner:
        vars(module)["forward"] = partial(noted, module, module.forward)
    try:
        with torch.no_grad():
            root(*args, **kwargs)
    finally:
        for module in inner:
            del vars(module)["forward"]
    return seen


def _leaves(trace: Trace) -> Iterator[tuple[str, nn.Module]]:
    """The modules that a trace calls as a whole though they hold layers."""
    called = {str(node.target) for node in trace.graph.nodes if node.op == "call_module"}
    for name in sorted(called):
        module = trace.root.get_submodule(name)
        if holds_layers(module) and not is_layer(module):
            yield trace.named(name), module


def _missing(chain: Chain) -> bool:
    """Whether there is no sparse way for it here."""
    return chain.convolutional and kernels() is None


def _free(name: str, taken: Collection[str]) -> str:
    """The name, or for a second use of the same layers one that tells them apart."""
    turn = 2
    free = name
    while free in taken:
        free, turn = f"{name}#{turn}", turn + 1
    return free
