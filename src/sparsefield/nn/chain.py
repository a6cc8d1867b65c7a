"""What reads what in a module that is not run: traced by ``torch.fx``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import fx, nn
from torch.nn.modules.module import _forward_unimplemented

from .activations import Activation
from .fill import LAYERS
from .held import under
from .origin import INPUT, Order, Origin, after, skipped
from .rectifier import is_rectifier
from .skip import Skip


class NotTraceable(Exception):
    """``torch.fx`` cannot follow a forward."""


def order_of(module: nn.Module, layers: Sequence[str], ignored: Sequence[str]) -> Order:
    """What the layers and activations of ``module`` read.

    A container without a forward, and a module whose class says ``registered_in_order = True`` of
    itself, run as they are registered, an activation of the point between two layers.

    Raises
    ------
    NotTraceable
        its forward depends on values.
    """
    in_order = getattr(type(module), "registered_in_order", False)
    if in_order or type(module).forward is _forward_unimplemented or isinstance(module, LAYERS):
        return _registered(layers)
    try:
        graph = _Tracer(ignored).trace(module)
    except Exception as error:
        raise NotTraceable(str(error).splitlines()[0] if str(error) else repr(error)) from error
    return _Reading(module, ignored).of(graph)


def _registered(layers: Sequence[str]) -> Order:
    order, read = Order(), INPUT
    for name in layers:
        read = order.layer(name, name, read)
        if name != layers[-1]:
            read = order.activation(name, name, read)
    return order


def skip_sum(read: Any, update: Any) -> Any:
    """Stands in a graph for what :class:`Skip` does with these two."""
    raise NotImplementedError


class _Tracer(fx.Tracer):
    """Sees layers, activations and whatever else has no parts as one node each."""

    def __init__(self, ignored: Sequence[str]) -> None:
        super().__init__()
        self._ignored = ignored

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        alone = next(m.children(), None) is None or is_rectifier(m)
        known = super().is_leaf_module(m, module_qualified_name)
        return alone or known or under(module_qualified_name, self._ignored)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if not isinstance(m, Skip) or under(self.path_of_module(m), self._ignored):
            return super().call_module(m, forward, args, kwargs)
        read = (*args, *kwargs.values())[0]
        total = self.create_proxy("call_function", skip_sum, (read, m.block(read)), {})
        return total if m.activation is None else m.activation(total)


class _Reading:
    """Follows a graph from node to node."""

    def __init__(self, module: nn.Module, ignored: Sequence[str]) -> None:
        self._module, self._ignored = module, ignored
        self._order, self._turns = Order(), Counter[str]()
        self._made: dict[fx.Node, Origin] = {}

    def of(self, graph: fx.Graph) -> Order:
        for node in graph.nodes:
            self._made[node] = self._origin(node)
        return self._order

    def _origin(self, node: fx.Node) -> Origin:
        read = [self._made[each] for each in node.all_input_nodes]
        if node.op == "placeholder":
            return INPUT
        if node.op == "get_attr":
            owner = str(node.target).rpartition(".")[0]
            return Origin("ignored" if under(owner, self._ignored) else "parameter")
        if node.op == "call_module":
            return self._part(str(node.target), read)
        if node.target is skip_sum:
            return skipped(read[0], read[-1], after("add", read))
        function = node.target if isinstance(node.target, str) else node.target.__name__
        return after(function, read)

    def _part(self, name: str, read: list[Origin]) -> Origin:
        part, first = self._module.get_submodule(name), (read or [INPUT])[0]
        if under(name, self._ignored):
            self._order.follow(first)
            return Origin("ignored", name)
        self._turns[name] += 1
        place = name if self._turns[name] == 1 else f"{name}#{self._turns[name]}"
        if isinstance(part, LAYERS):
            return self._order.layer(name, place, first)
        if isinstance(part, Activation) or is_rectifier(part):
            return self._order.activation(name, place, first)
        made = after(type(part).__name__, read)
        return made if made is first else replace(made, name=name)
