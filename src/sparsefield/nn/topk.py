"""Top-k, the k-winners-take-all of Xiao et al. 2020, as a torch function and a module."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sparsefield.errors import InvalidInput
from sparsefield.theory.winners import winners

from .activations import Activation, constant

_UNITS = 1


def topk(x: Tensor, sparsity: float) -> Tensor:
    """Keep the k largest units of each sample as they are; exact zeros elsewhere.

    The largest in value, not in size: a negative one wins where fewer than k are positive, as in
    the paper. k = round((1 - ``sparsity``) n), at least 1, of the n units in dimension 1. Over an
    image, [batch, channels, height, width], that is k channels at every position. (The paper
    takes the winners of all channels and positions together. They gather where the variance is
    high, and at the scale that keeps the variance of equal positions it grew 300 times in 20
    layers on MNIST and on CIFAR-10 at 90 % zeros.) Equal values: exactly k still win. A gradient
    passes to the winners alone.

    >>> topk(torch.tensor([[3.0, -1.0, 2.0, -2.0]]), sparsity=0.25)
    tensor([[ 3., -1.,  2.,  0.]])
    """
    if x.dim() <= _UNITS:
        raise InvalidInput(
            f"input of shape {list(x.shape)}: top-k wants [batch, units, ...]; add the batch axis"
        )
    values, places = x.topk(winners(sparsity, x.shape[_UNITS]), dim=_UNITS, sorted=False)
    return torch.zeros_like(x).scatter(_UNITS, places, values)


class TopK(Activation):
    """Top-k as a module: :func:`topk` with a fixed ``sparsity`` in (0, 1).

    It has no threshold of its own, since each sample sets one: ``tau`` is NaN.
    """

    _kept = ("sparsity",)
    sparsity = constant("sparsity")

    def __init__(self, sparsity: float) -> None:
        super().__init__(0.0)
        self.tau, self.sparsity = math.nan, float(sparsity)
        self._check({"sparsity": self.sparsity})

    def forward(self, x: Tensor) -> Tensor:
        return topk(x, self.sparsity)

    def _check(self, constants: Mapping[str, float]) -> None:
        sparsity = constants["sparsity"]
        if not 0.0 < sparsity < 1.0:
            raise InvalidInput(f"sparsity {sparsity}: a share in (0, 1); try 0.9")
