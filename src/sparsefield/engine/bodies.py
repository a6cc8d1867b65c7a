"""A model of any class with pieces in it: by its trace, or with its layers replaced one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from .calling import Form
from .layers import holds_layers, is_layer, obstacle, product_of
from .native import Storage, kernels
from .partition import Run, assembled, looked_into, partition
from .piece import Piece
from .products import Chain
from .tracing import Trace, compiled

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


class Replaced:
    """A twin of a model, each of whose layers finds the zeros itself in what it reads."""

    def __init__(self, root: nn.Module, storage: Storage, name: str = "") -> None:
        self.pieces: dict[str, Piece] = {}
        self.reasons: dict[str, str] = {}
        self._root, self._layers = root, dict[str, nn.Module]()
        for layer_name, layer in _layers_of(root, name):
            reason = obstacle(layer)
            if reason is not None:
                self.reasons[layer_name] = reason
                continue
            chain = Chain((product_of(layer, layer_name),))
            if _missing(chain):
                self.reasons[layer_name] = _MISSING
                continue
            piece = self.pieces[layer_name] = Piece(chain, (layer.forward,), storage)
            piece.contiguous = True  # nobody knows who looks
            self._layers[layer_name] = layer
        self.keep(self.pieces)

    def keep(self, names: Collection[str]) -> None:
        """See :class:`Body`."""
        for name, layer in self._layers.items():
            vars(layer).pop("forward", None)
            if name in names:
                vars(layer)["forward"] = self.pieces[name]

    def left(self) -> dict[str, list[str]]:
        """See :class:`Body`; functions are not known here."""
        found: dict[str, list[str]] = {}
        for name, module in self._root.named_modules():
            if module._parameters and "forward" not in vars(module):
                found.setdefault(type(module).__name__, []).append(name)
        return found

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See :class:`Body`."""
        return self._root(*args, **kwargs)


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
                found.setdefault(kind, []).append(target)
            elif node.op in ("call_function", "call_method"):
                kind = getattr(node.target, "__name__", target)
                found.setdefault(kind, []).append(node.name)
        return found

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See :class:`Body`."""
        bare = not kwargs and len(args) == self._bare and all(isinstance(x, Tensor) for x in args)
        tensors = args if bare else self._form.tensors_of(args, kwargs)
        if tensors is None:
            return self._plain(*args, **kwargs)
        return self._trace.result(self._forward(self._trace.root, *tensors))


def _layers_of(root: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    for inner, module in root.named_modules():
        if is_layer(module):
            yield f"{name}.{inner}" if name and inner else name or inner, module


def _leaves(trace: Trace) -> Iterator[tuple[str, nn.Module]]:
    """The modules that a trace calls as a whole though they hold layers."""
    called = {str(node.target) for node in trace.graph.nodes if node.op == "call_module"}
    for name in sorted(called):
        module = trace.root.get_submodule(name)
        if holds_layers(module) and not is_layer(module):
            yield name, module


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
