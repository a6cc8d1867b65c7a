"""FATReLU, a ReLU with a raised threshold [Kurtz et al. 2020], as a torch function and a module."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from sparsefield.errors import InvalidInput

from .activations import Activation


def fatrelu(x: Tensor, tau: float) -> Tensor:
    """x where x > tau, exact zero elsewhere, elementwise; ``tau`` >= 0.

    What is kept is kept as it is, unlike with :func:`shifted_relu`: a network that was trained
    with ReLU is changed the less.

    >>> import torch
    >>> fatrelu(torch.tensor([-1.0, 0.5, 1.5]), tau=1.0)
    tensor([0.0000, 0.0000, 1.5000])
    """
    return F.threshold(x, tau, 0.0)


def quantile(y: Tensor, share: float) -> float:
    """The least threshold >= 0 that this share of ``y`` does not exceed.

    >>> import torch
    >>> quantile(torch.tensor([0.0, 0.0, 1.0, 2.0, 3.0]), 0.6), quantile(torch.ones(3), 0.0)
    (1.0, 0.0)
    """
    rank = math.ceil(share * y.numel() - 1e-9)
    return max(0.0, y.detach().flatten().float().kthvalue(rank).values.item()) if rank else 0.0


class FATReLU(Activation):
    """FATReLU as a module: :func:`fatrelu` with fixed ``tau``."""

    _kept = ("tau",)

    def __init__(self, tau: float) -> None:
        super().__init__(tau)
        self._check(self._known)

    def forward(self, x: Tensor) -> Tensor:
        return fatrelu(x, self.tau)

    def _check(self, constants: Mapping[str, float]) -> None:
        super()._check(constants)
        if constants["tau"] < 0.0:
            raise InvalidInput(
                f"tau {constants['tau']}: FATReLU cuts off from 0 on; give 0 or more"
            )
