"""A model's forward as a graph of calls of its layers and of PyTorch's functions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

import sparsefield.nn
from sparsefield.nn import CNN, crelu, cst, shifted_relu, soft_threshold, topk
from sparsefield.watch import is_activation

from .calling import Form
from .layers import hooked
from .phi import phi_of

_WHOLE = (crelu, cst, shifted_relu, soft_threshold, topk)  # functions that are not looked into
_NEAR = 1e-4  # of the largest output: a trace makes the same calls


class CannotTrace(Exception):
    """A forward that depends on the values of its tensors, or on what a tracer cannot follow."""


class OtherShapes(Exception):
    """Shapes that were equal where a forward was traced are not in this call."""


@dataclass(frozen=True)
class Trace:
    """A forward, for calls of one form.

    Attributes
    ----------
    root
        a twin of the model, on which the graph's names are found.
    graph
        of calls; it reads the tensors of a call, and gives the leaves of the output.
    output
        how the output is nested.
    name
        of the root in the model, where it is a part of one.
    """

    root: nn.Module
    graph: fx.Graph
    output: Any
    name: str = ""

    def named(self, target: Any) -> str:
        """The name in the model of what a node calls."""
        return f"{self.name}.{target}" if self.name else str(target)

    def result(self, leaves: Sequence[Any]) -> Any:
        """The model's output from its leaves."""
        return pytree.tree_unflatten(list(leaves), self.output)


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is called as a whole: layers, activations, and what a tracer cannot enter.

    A CNN asks for the shapes of its images.
    """
    if hooked(module) or is_activation(module) or phi_of(module) is not None:
        return True
    torchs = type(module).__module__.startswith("torch.nn")
    return type(module) is CNN or (torchs and not isinstance(module, nn.Sequential))


class _Tracer(fx.Tracer):
    """Reads a forward called in one form; buffers are looked up in each call, as parameters are."""

    proxy_buffer_attributes = True

    def __init__(self, form: Form, tensors: int) -> None:
        super().__init__(autowrap_functions=_WHOLE)
        self._autowrap_search.append(sparsefield.nn)  # called as attributes of it, too
        self.output: Any = None
        self._form, self._tensors = form, tensors

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """See :func:`is_leaf`."""
        return is_leaf(m)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Two shapes that are compared are taken to be equal, and are looked at in each call."""
        compared = obj.node.args[:2]
        if obj.node.target in (operator.eq, operator.ne) and all(map(_is_shape, compared)):
            shapes = tuple(self.proxy(shape) for shape in compared)  # type: ignore[arg-type]
            self.create_proxy("call_function", same_shape, shapes, {})
            return obj.node.target is operator.eq
        return super().to_bool(obj)

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """One input for each tensor of the form, and one output for each leaf."""
        inputs = [
            self.create_proxy("placeholder", f"input_{index}", (), {})
            for index in range(self._tensors)
        ]

        def flat(root: nn.Module, *tensors: Any) -> list[Any]:
            args, kwargs = self._form.filled(tensors)
            leaves, self.output = pytree.tree_flatten(root_fn(root, *args, **kwargs))
            return leaves

        flat.__annotations__.clear()  # the tracer would write them into its code
        return flat, [self.root, *inputs]


def traced(root: nn.Module, form: Form, tensors: Sequence[Tensor], name: str = "") -> Trace:
    """The forward of ``root``, a twin of a model in the mode that it is to be traced in.

    The number of dimensions of every tensor, seen on these, is noted in the graph's nodes.

    Raises
    ------
    CannotTrace
        with the reason, or the trace does not do what the model does.
    """
    tracer = _Tracer(form, len(tensors))
    try:
        graph = tracer.trace(root)
        found = Trace(root, graph, tracer.output, name)
        args, kwargs = form.filled(_copies(tensors))
        expected = _seeded(root, lambda: root(*args, **kwargs))
        run = partial(_Seeing(root, graph=graph).run, *_copies(tensors))
        seen = found.result(_seeded(root, run))
    except Exception as error:  # a forward may do anything
        raise CannotTrace(in_one_line(error)) from error
    if not near(seen, expected):
        raise CannotTrace("its trace has other outputs than the model")
    return found


def same_shape(one: torch.Size, other: torch.Size) -> None:
    """OtherShapes if they are not equal."""
    if one != other:
        raise OtherShapes


def _is_shape(value: Any) -> bool:
    return isinstance(value, fx.Node) and value.target is getattr and value.args[1:] == ("shape",)


class _Seeing(fx.Interpreter):
    """Runs a graph, and notes the dimensions of its tensors."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            n.meta["dimensions"] = value.dim()
        return value


def compiled(graph: fx.Graph) -> Callable[..., list[Any]]:
    """A graph as a function of its root and its inputs."""
    code = graph.python_code("self")
    scope = dict(code.globals)
    exec(compile(code.src, "<traced forward>", "exec", dont_inherit=True), scope)
    forward: Callable[..., list[Any]] = scope["forward"]
    return forward


def near(found: Any, expected: Any) -> bool:
    """Whether two outputs agree in form, and their tensors to rounding."""
    ours, form = pytree.tree_flatten(found)
    theirs, expected_form = pytree.tree_flatten(expected)
    return form == expected_form and all(map(_near, ours, theirs))


def _near(found: Any, expected: Any) -> bool:
    if not isinstance(expected, Tensor):
        return type(found) is type(expected) and bool(found == expected)
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        return False
    if not expected.is_floating_point():
        return torch.equal(found, expected)
    finite = expected[expected.isfinite()]
    size = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(found, expected, rtol=0.0, atol=_NEAR * size, equal_nan=True)


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """A forward may write into what it is given."""
    return [tensor.detach().clone() for tensor in tensors]


def _seeded(root: nn.Module, call: Callable[[], Any]) -> Any:
    """The call's result; what it draws and what buffers hold is the same each time."""
    with unchanged(root), torch.no_grad():
        torch.manual_seed(0)
        return call()


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Buffers and the state of random numbers are afterwards what they were."""
    held = [
        (module._buffers, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        with torch.no_grad():
            for buffers, name, buffer, value in held:
                buffer.copy_(value)
                buffers[name] = buffer


def in_one_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
