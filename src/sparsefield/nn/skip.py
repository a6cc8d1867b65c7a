"""The skip that keeps the fixed point, around a block of your own."""

from __future__ import annotations

from torch import Tensor, nn

from sparsefield.errors import InvalidInput
from sparsefield.theory import Point
from sparsefield.theory.sums import skip_weights

from .of_point import activation


class Skip(nn.Module):
    """A x + B block(x), whose variance is q* where that of the block's output is q*.

    Pre-activation, the default: x is a pre-activation of variance q* and the block begins with an
    activation; A = sqrt(skip), B = sqrt(1 - skip). Nothing else changes: q* stays the fixed point,
    and at chi_1 = 1 gradients stay level.

    Post-activation, with a ``point``: x is what an activation put out, the block ends with a layer,
    and the sum goes through the point's activation. A = sqrt(skip q* / E[phi^2]): x is small beside
    q*. The mean of x is not zero (unless the activation is two-sided), so units that are on stay
    on, and the zeros fall from block to block: :func:`sparsefield.theory.sums.post_activation`.

    Parameters
    ----------
    block
        a module whose output has the shape of its input.
    skip
        alpha^2 in [0, 1), the share of the variance that x carries.
    point
        for the post-activation form, as solved for the network.

    Raises
    ------
    InvalidInput
        ``skip`` out of range, or, when it runs, a block that changes the shape.

    >>> import torch
    >>> from sparsefield import Skip, activation, solve
    >>> point = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
    >>> block = Skip(nn.Sequential(activation(point), nn.Linear(8, 8)), skip=0.9)
    >>> block(torch.randn(3, 8)).shape
    torch.Size([3, 8])
    """

    def __init__(self, block: nn.Module, skip: float, *, point: Point | None = None) -> None:
        super().__init__()
        carried = None if point is None else point.second_moment
        self.carry, self.renew = skip_weights(skip, 1.0 if point is None else point.q, carried)
        self.skip = float(skip)
        self.block = block
        self.activation = None if point is None else activation(point)

    def extra_repr(self) -> str:
        return f"skip={self.skip:.6g}"

    def forward(self, x: Tensor) -> Tensor:
        h = self.join(x, self.block(x))
        return h if self.activation is None else self.activation(h)

    def join(self, x: Tensor, update: Tensor) -> Tensor:
        """A x + B update."""
        if update.shape != x.shape:
            raise InvalidInput(
                f"the block made {list(update.shape)} of {list(x.shape)}: a skip adds the two, so "
                "give it a block that keeps the shape"
            )
        return (self.renew * update).add(x, alpha=self.carry)
