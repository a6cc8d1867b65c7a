"""Rectifiers of a model, modules and function calls, replaced by another activation."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.theory import Point

from .activations import Activation
from .calls import Swapped, plain_forward, rectifier_calls, swap_calls
from .held import parts
from .of_point import activation, same
from .rectifier import is_rectifier, rectifies

Outputs = Callable[[], list[Tensor]]
Make = Callable[[], Activation]
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)


@dataclass(frozen=True)
class Swap:
    """What stands in place of which modules; rectifier functions are replaced in any case."""

    make: Make
    replaces: Callable[[nn.Module], bool]

    @classmethod
    def of(cls, point: Point) -> Swap:
        """The point's activation, for rectifiers and for our activations with other constants."""
        wanted = activation(point)

        def replaces(part: nn.Module) -> bool:
            return is_rectifier(part) or (isinstance(part, Activation) and not same(part, wanted))

        return cls(lambda: activation(point), replaces)


def swap_modules(
    model: nn.Module, swap: Swap, ignored: Sequence[str], undo: ExitStack
) -> dict[str, str]:
    """Replace modules, and rectifier functions kept as attributes, wherever a part holds them.

    Returns
    -------
    What was replaced, by the name of the place. ``undo`` takes all of it back.
    """
    made, was = dict[int, Activation](), dict[str, str]()
    allowed = {id(part) for _, part in parts(model, ignored)}
    for name, parent in list(parts(model, ignored)):
        for child, held in _replaced_in(parent, swap, allowed):
            new = swap.make()
            if isinstance(held, nn.Module):  # one module in several places stays one
                new = made.setdefault(id(held), new)
            new.training = parent.training
            put(parent, child, new, undo)
            was[f"{name}.{child}" if name else child] = _called(held)
    return was


def _replaced_in(parent: nn.Module, swap: Swap, allowed: set[int]) -> Iterator[tuple[str, Any]]:
    for child, part in list(parent._modules.items()):
        if part is not None and id(part) in allowed and swap.replaces(part):
            yield child, part
    for child, value in list(vars(parent).items()):
        if isinstance(value, _FUNCTIONS) and child != "forward" and rectifies(value):
            yield child, value


def _called(held: Any) -> str:
    return type(held).__name__ if isinstance(held, nn.Module) else str(held.__name__)


def put(parent: nn.Module, child: str, new: Activation, undo: ExitStack) -> None:
    """``parent.child = new``, be it a sub-module or a plain attribute."""
    if child in parent._modules:
        undo.callback(parent._modules.__setitem__, child, parent._modules[child])
        parent._modules[child] = new
        return
    undo.callback(parent.__dict__.__setitem__, child, parent.__dict__.pop(child))
    add_child(parent, child, new, undo)
    if vars(parent).get("activation_relu_or_gelu"):
        # torch's encoder layer would else take its fused path, with the activation that it had
        undo.callback(vars(parent).update, activation_relu_or_gelu=parent.activation_relu_or_gelu)
        vars(parent)["activation_relu_or_gelu"] = 0


def add_child(parent: nn.Module, child: str, new: nn.Module, undo: ExitStack) -> None:
    """A sub-module that was not there."""
    parent.add_module(child, new)
    undo.callback(parent._modules.pop, child, None)


def swap_functions(
    owners: Sequence[nn.Module], make: Make, outputs: Outputs, undo: ExitStack
) -> tuple[dict[int, dict[str, str]], dict[int, str]]:
    """Replace calls of rectifier functions in these forwards, as ``torch.fx`` traces them.

    Parameters
    ----------
    owners
        modules whose own forward calls them.
    outputs
        what the whole model gives: each traced forward is to give the same before anything in it
        is replaced.

    Returns
    -------
    By the id of the module: the new children with the functions that they replace, and why none
    was replaced.
    """
    swapped: dict[int, dict[str, str]] = {}
    failed: dict[int, str] = {}
    for owner in owners:
        try:
            swapped[id(owner)] = _swap_functions(owner, make, outputs, undo)
        except Exception as error:  # whatever fx or the forward says, it is the reason
            failed[id(owner)] = str(error).splitlines()[0] if str(error) else repr(error)
    return swapped, failed


def _swap_functions(
    owner: nn.Module, make: Make, outputs: Outputs, undo: ExitStack
) -> dict[str, str]:
    functions = rectifier_calls(owner)
    if not functions:
        raise NotImplementedError("the graph that torch.fx traced holds no such call")
    base, before = type(owner), outputs()
    with ExitStack() as back:
        back.callback(setattr, owner, "__class__", base)
        owner.__class__ = Swapped.of(base, plain_forward(owner))
        if not _alike(before, outputs()):
            raise NotImplementedError("the forward that torch.fx traced gives other outputs")
        names = _free_names(owner, len(functions))
        for name in names:
            add_child(owner, name, make(), back)
        vars(owner)["_swapped"] = names
        back.callback(vars(owner).pop, "_swapped")
        owner.__class__ = Swapped.of(base, swap_calls(owner, names))
        undo.push(back.pop_all())
    return dict(zip(names, functions, strict=True))


def _alike(before: list[Tensor], after: list[Tensor]) -> bool:
    return len(before) == len(after) > 0 and all(map(_close, before, after))


def _close(one: Tensor, other: Tensor) -> bool:
    same_shape = one.shape == other.shape
    return same_shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)


def _free_names(owner: nn.Module, count: int) -> tuple[str, ...]:
    names: list[str] = []
    number = 0
    while len(names) < count:
        name = f"activation_{number}" if number else "activation"
        number += 1
        if not hasattr(owner, name):
            names.append(name)
    return tuple(names)
