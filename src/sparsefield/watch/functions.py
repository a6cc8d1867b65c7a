"""Activations that are called as functions, where no module tells of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_ZEROING = {
    *(torch.relu, torch.relu_, torch.threshold, torch.hardshrink, F.relu, F.relu6, F.threshold),
    *(F.hardtanh, F.softshrink, F.hardshrink, Tensor.relu, Tensor.relu_, Tensor.hardshrink),
}
_CLAMPS = {
    *(torch.clamp, torch.clamp_, torch.clamp_min, torch.clamp_min_, torch.clip, torch.clip_),
    *(Tensor.clamp, Tensor.clamp_, Tensor.clamp_min, Tensor.clamp_min_, Tensor.clip, Tensor.clip_),
}


class Functions(TorchFunctionMode):
    """Inside the block, ``told`` hears the name of every function that makes zeros of values."""

    def __init__(self, told: Callable[[str], None]) -> None:
        super().__init__()
        self._told = told

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        low = kwargs.get("min", args[1] if len(args) > 1 else None)
        if func in _ZEROING or (func in _CLAMPS and isinstance(low, int | float) and low == 0):
            self._told(func.__name__.strip("_"))
        return func(*args, **kwargs)
