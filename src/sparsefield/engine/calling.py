"""The form of a call: where its tensors stand, and what stands beside them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sparsefield.errors import InvalidInput
from sparsefield.nn.order import Sample

_PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device)


class _Tensor:
    """In the place of a tensor."""


@dataclass(frozen=True)
class Form:
    """What calls have in common that differ in the values of their tensors alone.

    Attributes
    ----------
    spec
        how arguments are nested.
    leaves
        what stands in them, by place: tensors are told by ``_Tensor``.
    """

    spec: Any
    leaves: tuple[Any, ...]

    @property
    def bare(self) -> int:
        """How many tensors, if a call is nothing but tensors one after the other; else 0."""
        count = len(self.leaves)
        flat = pytree.tree_flatten(((0,) * count, {}))[1]
        return count if flat == self.spec and all(leaf is _Tensor for leaf in self.leaves) else 0

    def __reduce__(self) -> tuple[Any, ...]:
        nested = pytree.tree_unflatten(range(len(self.leaves)), self.spec)
        return _again, (nested, self.leaves)

    def filled(self, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call with these tensors."""
        given = iter(tensors)
        leaves = [next(given) if leaf is _Tensor else leaf for leaf in self.leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self.spec)
        return args, kwargs

    def tensors_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor] | None:
        """The tensors of a call of this form; None if it has another."""
        leaves, spec = pytree.tree_flatten((args, dict(sorted(kwargs.items()))))
        if spec != self.spec or not all(map(_alike, leaves, self.leaves)):
            return None
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _again(nested: Any, leaves: tuple[Any, ...]) -> Form:
    """A copied or pickled form."""
    return Form(pytree.tree_flatten(nested)[1], leaves)


def form_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Form, list[Tensor]]:
    """The form of a call, and its tensors."""
    leaves, spec = pytree.tree_flatten((args, dict(sorted(kwargs.items()))))
    told = tuple(_Tensor if isinstance(leaf, Tensor) else leaf for leaf in leaves)
    return Form(spec, told), [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def arguments(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call as the model's forward has them: by position where it may."""
    if not kwargs:
        return args, {}
    bound = _signature(type(model).forward).bind(model, *args, **kwargs)
    return bound.args[1:], bound.kwargs


@cache
def _signature(forward: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(forward)


def call_with(sample: Sample) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call that a sample stands for.

    Raises
    ------
    InvalidInput
        it is none.
    """
    if isinstance(sample, Tensor):
        return (sample,), {}
    if isinstance(sample, tuple):
        return sample, {}
    if isinstance(sample, Mapping):
        return (), dict(sample)
    raise InvalidInput(
        f"sample of {type(sample).__name__}: give a torch.Tensor, a tuple of arguments, or a "
        "dictionary of keyword arguments"
    )


def _alike(given: Any, known: Any) -> bool:
    if known is _Tensor or isinstance(given, Tensor):
        return known is _Tensor and isinstance(given, Tensor)
    plain = type(given) is type(known) and isinstance(given, _PLAIN)
    return given is known or (plain and given == known)


def batches_in(tensors: Sequence[Tensor], batches: Iterable[int] | None) -> list[int]:
    """The batch sizes to measure at: those given, or 1 and that of the first tensor.

    Raises
    ------
    InvalidInput
        a size below 1, or tensors without a row.
    """
    size = length(tensors)
    if not size:
        raise InvalidInput("sample: holds no row; give a batch of real inputs")
    wanted = sorted({1, size} if batches is None else set(batches))
    if not wanted or wanted[0] < 1:
        raise InvalidInput(f"batches {wanted}: give sizes of at least 1 to measure at")
    return wanted


def cut(tensors: Sequence[Tensor], batch: int) -> list[Tensor]:
    """Tensors repeated or cut to a batch: those as long in the first axis as the first; copies."""
    size = length(tensors)
    rows = torch.arange(batch) % size
    return [t[rows] if t.dim() and len(t) == size else t.clone() for t in tensors]


def length(values: Iterable[Any]) -> int:
    """Of the first axis of the first tensor among some values; 1 if there is none."""
    first = next((value for value in values if isinstance(value, Tensor)), None)
    return 1 if first is None or not first.dim() else len(first)
