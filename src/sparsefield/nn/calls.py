"""A module whose forward calls functions, given a forward that calls sub-modules in their place."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, fx, nn

from .rectifier import rectifies

Forward = Callable[..., Any]


class _Own(fx.Tracer):
    """Traces a module's own forward; its parts stay calls."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _graph(module: nn.Module) -> fx.Graph:
    """The graph of the forward, the flag ``training`` read when it runs.

    Raises
    ------
    NotImplementedError
        the forward takes another course in training, or sets attributes (fx keeps there the tensors
        that it makes itself).
    """
    training = module.training
    try:
        graphs = [_traced(module, mode) for mode in (True, False)]
    finally:
        module.training = training
    _read_training(*graphs)
    return graphs[0]


def _traced(module: nn.Module, training: bool) -> fx.Graph:
    module.training = training
    before = dict(vars(module))
    try:
        graph = _Own().trace(module)
        changed = [k for k, v in vars(module).items() if k not in before or before[k] is not v]
    finally:
        vars(module).clear()
        vars(module).update(before)
    if changed:
        raise NotImplementedError(f"its forward sets {', '.join(changed)}")
    return graph


def _read_training(graph: fx.Graph, evaluating: fx.Graph) -> None:
    """Put ``self.training`` where the two graphs hold True and False."""
    nodes, others = list(graph.nodes), list(evaluating.nodes)
    if [(n.op, n.target) for n in nodes] != [(n.op, n.target) for n in others]:
        raise NotImplementedError("its forward takes another course in training")
    first = next(node for node in nodes if node.op != "placeholder")
    with graph.inserting_before(first):
        flag = graph.create_node("get_attr", "training")
    for node, other in zip(nodes, others, strict=True):
        node.args = tuple(_merged(a, b, flag) for a, b in zip(node.args, other.args, strict=True))
        node.kwargs = {k: _merged(v, other.kwargs[k], flag) for k, v in node.kwargs.items()}
    if not flag.users:
        graph.erase_node(flag)


def _merged(training: Any, evaluating: Any, flag: fx.Node) -> Any:
    if training is True and evaluating is False:
        return flag
    if str(training) != str(evaluating):
        raise NotImplementedError("its forward takes another course in training")
    return training


def _compiled(module: nn.Module, graph: fx.Graph) -> Forward:
    forward: Forward = type(fx.GraphModule(module, graph)).forward
    return forward


def plain_forward(module: nn.Module) -> Forward:
    """The traced forward, nothing replaced."""
    return _compiled(module, _graph(module))


def rectifier_calls(module: nn.Module) -> list[str]:
    """Names of the rectifier functions that the traced forward calls, in order."""
    return [_name(node) for node in _rectifier_nodes(_graph(module))]


def swap_calls(module: nn.Module, names: Sequence[str]) -> Forward:
    """The traced forward with the sub-modules of these names in the place of those calls."""
    graph = _graph(module)
    for node, name in zip(_rectifier_nodes(graph), names, strict=True):
        _replace(graph, node, name)
    return _compiled(module, graph)


def _rectifier_nodes(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if _is_rectifier(node)]


def _is_rectifier(node: fx.Node) -> bool:
    if node.op not in ("call_function", "call_method") or len(node.all_input_nodes) != 1:
        return False
    read = node.all_input_nodes[0]
    call = node.target if node.op == "call_function" else getattr(Tensor, str(node.target), None)
    if call is None:
        return False
    return rectifies(partial(_call, call, node.args, node.kwargs, read))


def _call(call: Any, args: Any, kwargs: Any, read: fx.Node, x: Tensor) -> Any:
    given = fx.node.map_arg((args, kwargs), lambda node: x if node is read else node)
    return call(*given[0], **given[1])


def _replace(graph: fx.Graph, node: fx.Node, name: str) -> None:
    read = node.all_input_nodes[0]
    with graph.inserting_after(node):
        new = graph.call_module(name, (read,))
    node.replace_all_uses_with(new)
    if _in_place(node):  # whoever reads the input later is to see what was written into it
        later = list(graph.nodes)
        later = later[later.index(new) + 1 :]
        for user in list(read.users):
            if user in later:
                user.replace_input_with(read, new)
    graph.erase_node(node)


def _name(node: fx.Node) -> str:
    target = node.target
    return target if isinstance(target, str) else str(getattr(target, "__name__", target))


def _in_place(node: fx.Node) -> bool:
    name = _name(node)
    given = (*node.args[1:], node.kwargs.get("inplace"))
    return name.endswith("_") or any(each is True for each in given)


class Swapped:
    """Mixed into the class of one module: its forward calls activations as sub-modules.

    A copy, or what a pickle brings back, traces the forward of the class that the module had.
    """

    _base: type[nn.Module]
    _swapped: tuple[str, ...]

    @staticmethod
    def of(base: type[nn.Module], forward: Forward | None = None) -> type[Any]:
        """A class for one module, in all else ``base``."""
        base = getattr(base, "_base", base) if issubclass(base, Swapped) else base
        own = {"_base": base, "__module__": base.__module__, "__doc__": base.__doc__}
        if forward is not None:
            own["forward"] = forward
        return types.new_class(
            base.__name__, (Swapped, base), exec_body=lambda names: names.update(own)
        )

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _empty, (type(self)._base,), self.__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        type(self).forward = swap_calls(self, self._swapped)  # type: ignore[attr-defined, arg-type]


def _empty(base: type[nn.Module]) -> nn.Module:
    kind: Any = Swapped.of(base)
    module: nn.Module = kind.__new__(kind)
    return module
