"""What a rectifier is: found by what a module or a function does, not by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .activations import Activation
from .held import owns
from .mode import evaluating

_PROBE = [-20.0, -4.0, 0.0, 4.0, 20.0]


def rectifies(function: Callable[[Tensor], Any]) -> bool:
    """Whether a function is elementwise, lets large inputs pass and holds negative ones back.

    ReLU, ReLU6, GELU, SiLU, Mish, ELU, LeakyReLU, Hardswish, Softplus and their like are;
    sigmoid, tanh, softmax, dropout and the identity are not.

    >>> [rectifies(f) for f in (torch.relu, torch.nn.functional.gelu, torch.tanh, torch.abs)]
    [True, True, False, False]
    """
    x = torch.tensor([_PROBE, _PROBE[::-1]])
    try:
        with torch.no_grad():
            y, part = function(x.clone()), function(x[:1, :3].clone())
    except Exception:  # whatever it wants, it is no function of one number
        return False
    if not isinstance(y, Tensor) or not isinstance(part, Tensor) or y.shape != x.shape:
        return False
    return _elementwise(y, part) and _passes_and_holds(*y[0].tolist())


def _elementwise(y: Tensor, part: Tensor) -> bool:
    return torch.allclose(y[0], y[1].flip(0), atol=1e-4) and torch.allclose(
        y[:1, :3], part, atol=1e-4
    )


def _passes_and_holds(far: float, low: float, _: float, high: float, top: float) -> bool:
    return abs(far) <= 6.0 and 3.0 <= high <= top <= 24.0 and high - low >= 3.0


def is_rectifier(module: nn.Module) -> bool:
    """Whether a module without parameters is one, and no part of it is one already.

    >>> is_rectifier(nn.GELU()), is_rectifier(nn.Sequential(nn.ReLU())), is_rectifier(nn.Tanh())
    (True, False, False)
    """
    if isinstance(module, Activation) or owns(module) or any(map(owns, module.modules())):
        return False
    if any(is_rectifier(part) or isinstance(part, Activation) for part in module.children()):
        return False
    with evaluating(module):
        return rectifies(module.forward)
