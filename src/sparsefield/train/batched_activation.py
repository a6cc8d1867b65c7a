"""One family of activations with a threshold and a clip for each member."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sparsefield.nn import Activation

# the gradient where y > 0, and where y != 0
_positive = torch.ops.aten.threshold_backward.grad_input
_nonzero = torch.ops.aten.softshrink_backward.grad_input


class BatchedActivation:
    """Forward and backward of one activation a member over tensors [members, batch, units].

    Parameters
    ----------
    activations
        One of each member, all of one family.
    like
        A tensor of the dtype and on the device in which they compute.
    """

    def __init__(self, activations: Sequence[Activation], like: Tensor) -> None:
        def column(values: list[float]) -> Tensor:
            return like.new_tensor(values).view(-1, 1, 1)

        self._two_sided = activations[0].two_sided
        self._clipped = not math.isinf(activations[0].m)
        self._tau = column([phi.tau for phi in activations])
        self._m = column([phi.m for phi in activations])
        self._minus_tau, self._minus_m = -self._tau, -self._m

    def forward(self, h: Tensor, out: Tensor) -> None:
        """Write phi(h) to ``out``, another tensor."""
        if self._two_sided:
            self._shrink(h, out)
        else:
            torch.sub(h, self._tau, out=out).clamp_min_(0.0)
        if self._clipped:
            torch.minimum(out, self._m, out=out)
        if self._clipped and self._two_sided:
            torch.maximum(out, self._minus_m, out=out)

    def _shrink(self, h: Tensor, out: Tensor) -> None:
        """h less its part within [-tau, tau]: exactly zero inside."""
        torch.minimum(h, self._tau, out=out)
        torch.maximum(out, self._minus_tau, out=out)
        torch.sub(h, out, out=out)

    def backward(self, gradient: Tensor, y: Tensor, out: Tensor, spare: Tensor) -> None:
        """Write the gradient before the activation to ``out``, which may be ``gradient``.

        ``y`` is what :meth:`forward` wrote; ``spare``, another tensor of its shape, is overwritten.
        """
        if self._two_sided:
            _nonzero(gradient, y, 0.0, grad_input=out)
        else:
            _positive(gradient, y, 0.0, grad_input=out)
        if self._clipped:
            # m - |y| is exactly zero at the clip, for the clip is what forward wrote there
            size = torch.abs(y, out=spare) if self._two_sided else y
            torch.sub(self._m, size, out=spare)
            _positive(out, spare, 0.0, grad_input=out)
