"""The tensor that a call is about, in whatever it was given and gave."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch.utils import _pytree


def first(given: Any) -> Tensor | None:
    """The first tensor in tuples, lists and dicts, nested as they may be."""
    if isinstance(given, Tensor):
        return given
    parts = given.values() if isinstance(given, Mapping) else given
    if not isinstance(given, Mapping | tuple | list):
        return None
    return next((found for part in parts if (found := first(part)) is not None), None)


def replaced(given: Any, old: Tensor, new: Tensor) -> Any:
    """The same with one tensor in another's place."""
    return _pytree.tree_map(lambda each: new if each is old else each, given)


def transformed() -> bool:
    """Whether one of torch.func's transforms is at work."""
    return torch._C._are_functorch_transforms_active()


def outside() -> AbstractContextManager[Any]:
    """A block outside torch.func's transforms, where :func:`unwrapped` tensors are at home."""
    return torch._C._DisableFuncTorch() if transformed() else nullcontext()


def unwrapped(x: Tensor) -> Tensor:
    """The values behind the wrappers of torch.func, the axes that are mapped over in front."""
    mapped: list[int] = []  # the axis in what each wrapper holds, outermost wrapper first
    while _functorch.is_functorch_wrapped_tensor(x):
        if _functorch.is_batchedtensor(x):
            mapped.append(_functorch.maybe_get_bdim(x))
        x = _functorch.get_unwrapped(x)
    for moved, axis in enumerate(reversed(mapped)):
        x = x.movedim(axis + moved, moved)
    return x
