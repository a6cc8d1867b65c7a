"""What weights in fewer bits do to the outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .twins import twin_of


@dataclass(frozen=True)
class Rounding:
    """How the outputs of an engine differ from its model's.

    Attributes
    ----------
    relative_error
        root mean square of the difference over that of the model's outputs.
    decisions_changed
        share of the samples whose largest output is another.
    accuracy_before, accuracy_after
        share of the samples classified rightly by the model and by the engine; None without
        labels.
    samples
        how many.
    """

    relative_error: float
    decisions_changed: float
    accuracy_before: float | None
    accuracy_after: float | None
    samples: int


def rounding(
    engine: Callable[[Tensor], Tensor], model: nn.Module, x: Tensor, labels: Tensor | None = None
) -> Rounding:
    """Compare an engine's outputs ``[batch, classes]`` with its model's on ``x`` and ``labels``.

    >>> import torch
    >>> from sparsefield import DNN, accelerate, solve
    >>> model = DNN(64, 100, 5, 10, solve("crelu", sparsity=0.9, q=4.0, clip=1.1))
    >>> x = torch.randn(32, 64)
    >>> rounding(accelerate(model, x), model, x).decisions_changed
    0.0
    """
    with torch.no_grad():
        before, after = twin_of(model, evaluating=True)(x), engine(x)
    error = (after - before).pow(2).mean() / before.pow(2).mean()
    then, now = before.argmax(dim=1), after.argmax(dim=1)
    return Rounding(
        float(error.sqrt()),
        float((then != now).float().mean()),
        None if labels is None else float((then == labels).float().mean()),
        None if labels is None else float((now == labels).float().mean()),
        len(x),
    )
