"""What the nodes of a traced forward are to the engine: products, norms, activations, nothing."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from sparsefield.nn import crelu, cst, shifted_relu, soft_threshold

from .layers import HOOKS, hooked, is_layer, obstacle, product_of
from .parts import NOTHING
from .phi import Phi, phi_of
from .products import Product
from .tracing import Trace

Node = fx.Node


class Nothing:
    """A node that gives what it reads."""


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
Reading = Product | Phi | nn.Module | Nothing  # a module: a norm that may be folded


def _relu(inplace: bool = False) -> Phi:
    return Phi("one_sided")


def _relu6(inplace: bool = False) -> Phi:
    return Phi("one_sided", 0.0, 6.0)


def _hardtanh(min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Phi | None:
    return Phi("one_sided", 0.0, float(max_val)) if min_val == 0.0 else None


def _softshrink(lambd: float = 0.5) -> Phi:
    return Phi("two_sided", float(lambd))


def _one_sided(tau: float, m: float = float("inf")) -> Phi:
    return Phi("one_sided", float(tau), float(m))


def _two_sided(tau: float, m: float = float("inf")) -> Phi:
    return Phi("two_sided", float(tau), float(m))


_CALLS: dict[Any, Callable[..., Phi | None]] = {
    F.relu: _relu,
    F.relu_: _relu,
    torch.relu: _relu,
    torch.relu_: _relu,
    "relu": _relu,
    "relu_": _relu,
    F.relu6: _relu6,
    F.hardtanh: _hardtanh,
    F.softshrink: _softshrink,
    crelu: _one_sided,
    shifted_relu: _one_sided,
    cst: _two_sided,
    soft_threshold: _two_sided,
}
_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout)
_DEFAULT_TRAINING = {F.alpha_dropout: False}
_MOVES = {  # values, and puts zeros in the place of some at most
    *(torch.flatten, torch.reshape, torch.transpose, torch.permute, *_DROPOUTS[:-1]),
    *("flatten", "view", "reshape", "transpose", "permute", "contiguous", "clone"),
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
}
_POOLS = {  # gives zero for zeros alone, where no value is below zero
    *(F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, torch.max_pool2d),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
}
_IN_PLACE = {
    *(operator.setitem, operator.iadd, operator.isub, operator.imul, operator.itruediv),
    *(operator.iand, operator.ior, operator.ipow, operator.imod, operator.ifloordiv),
}


def reading_of(node: Node, trace: Trace, *, training: bool) -> Reading | str | None:
    """What a node is; a string is why a layer cannot be a product, None all else."""
    if not node.args or node.all_input_nodes != [node.args[0]]:
        return None
    if node.op == "call_module":
        alone = len(node.args) == 1 and not node.kwargs
        return _of_module(trace, node, training) if alone else None
    if node.op not in ("call_function", "call_method"):
        return None
    if node.target in _DROPOUTS:
        given = dict(zip(("p", "training"), node.args[1:], strict=False)) | node.kwargs
        acts = given.get("training", _DEFAULT_TRAINING.get(node.target, True))
        return Nothing() if acts is False else None
    return _phi_of_call(node)


def _of_module(trace: Trace, node: Node, training: bool) -> Reading | str | None:
    module = trace.root.get_submodule(str(node.target))
    if is_layer(module):
        reason = obstacle(module)
        return product_of(module, trace.named(node.target)) if reason is None else reason
    if hooked(module):
        return HOOKS if type(module) in NORMS else None
    phi = phi_of(module)
    if phi is not None:
        return phi
    if type(module) in NORMS and not training:
        assert isinstance(module, NORMS)
        flat = isinstance(module, nn.BatchNorm2d) or node.meta.get("dimensions") == 2
        return module if flat else None
    nothing = (nn.Identity,) if training else NOTHING
    return Nothing() if type(module) in nothing else None


def _phi_of_call(node: Node) -> Phi | None:
    """An activation that is called as a function or a method, with constants for its constants."""
    make = _CALLS.get(node.target)
    constants = (*node.args[1:], *node.kwargs.values())
    if make is None or not all(isinstance(value, bool | int | float) for value in constants):
        return None
    return make(*node.args[1:], **node.kwargs)


def has_zeros(node: Node, readings: Mapping[Node, Any], root: nn.Module) -> bool:
    """Whether a node gives what an activation has given, moved about or pooled at most."""
    pooled = False
    while not isinstance(phi := readings.get(node), Phi):
        kind: Any = node.target
        if node.op == "call_module":
            module = root.get_submodule(str(node.target))
            kind = None if hooked(module) else type(module)
        if kind not in _MOVES | _POOLS or not node.args or not isinstance(node.args[0], Node):
            return False
        pooled, node = pooled or kind in _POOLS, node.args[0]
    return not pooled or phi.kind == "one_sided"


def looks_into(node: Node, root: nn.Module) -> bool:
    """Whether a node may ask how what it reads lies in memory."""
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        return hooked(module) or type(module).__module__.split(".")[0] not in (
            "torch",
            "sparsefield",
        )
    return node.target in ("view", "view_as", "stride", "is_contiguous", "as_strided", "data_ptr")


def writes(node: Node, root: nn.Module) -> bool:
    """Whether a node writes into what it reads."""
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method":
        name = str(node.target)
        return name.endswith("_") and not name.endswith("__")
    if node.op != "call_function":
        return False
    name = getattr(node.target, "__name__", "")
    in_place = node.kwargs.get("inplace", False) is True or "out" in node.kwargs
    last = (
        bool(node.args) and node.args[-1] is True and node.target in (F.relu, F.relu6, F.hardtanh)
    )
    return in_place or last or node.target in _IN_PLACE or name.endswith("_")
