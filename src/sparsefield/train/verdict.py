"""When a run counts as failed: the one definition."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MARGIN = 0.1
EXPLODED = 10.0  # times the loss of a guess


def chance(labels: Tensor) -> float:
    """Accuracy of always naming the most common class of ``labels`` (int64, shape [n])."""
    return float(torch.bincount(labels).max()) / len(labels)


def failure(loss: float, accuracy: float, chance: float, *, step: int, lr: float) -> str | None:
    """Why a run failed, or None.

    A run failed if its loss is not finite, or if its final test accuracy lies less than a tenth of
    the way from chance (the share of the most common test class) to 1.
    """
    if not math.isfinite(loss):
        return f"loss={loss} by step {step} (lr={lr:g}): diverged; lower lr or set grad_clip"
    least = chance + MARGIN * (1 - chance)
    if accuracy < least and loss > EXPLODED * -math.log(chance):
        return (
            f"loss={loss:.3g} by step {step} (lr={lr:g}), where guessing costs "
            f"{-math.log(chance):.3g}: diverged; lower lr or set grad_clip"
        )
    if accuracy < least:
        return (
            f"test_accuracy={accuracy:.4f} after {step} steps: below {least:.4f}, a tenth of the "
            f"way from chance ({chance:.4f}) to 1; train longer, or change lr, skip or depth"
        )
    return None
