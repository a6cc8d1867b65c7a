"""What the theory needs to know of an activation, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from numpy.typing import ArrayLike

from .quadrature import Array, Nodes


class Piece(Protocol):
    """A stretch of the real line, on one side of zero, on which phi is smooth."""

    @property
    def copies(self) -> float:
        """2 for a piece that stands for its mirror image as well (odd phi)."""

    @property
    def is_flat(self) -> bool:
        """Whether phi is constant here."""

    @property
    def is_off(self) -> bool:
        """Whether phi is exactly zero here."""

    def nodes(self, root_q: Array, panels: int = 1) -> Nodes:
        """Quadrature nodes of this piece under N(0, q), arrays [..., N]."""


class Activation(Protocol):
    """An activation that is smooth between its knots.

    ``PiecewiseLinear`` is one; any other is a ``PiecewiseSmooth``.
    """

    @property
    def batch(self) -> tuple[int, ...]:
        """Shape of the batch of activations that this object holds; () for one."""

    @property
    def half_pieces(self) -> Sequence[Piece]:
        """Every piece, cut at zero."""

    @property
    def scales(self) -> Array:
        """The distances from zero at which phi changes, > 0, ascending; empty if homogeneous."""

    @property
    def bounded(self) -> bool:
        """Whether both tails are flat."""

    @property
    def odd(self) -> bool:
        """Whether phi(-x) = -phi(x)."""

    @property
    def kinks(self) -> Sequence[tuple[float, float]]:
        """(position, change of slope) wherever phi' jumps."""

    @property
    def growth(self) -> tuple[float, float, float]:
        """(left slope, right slope, c): abs(phi(x)) <= c + slope abs(x) on either side of zero."""

    def __call__(self, x: ArrayLike) -> Array:
        """phi(x), elementwise."""

    def derivative(self, x: ArrayLike) -> Array:
        """phi'(x), elementwise; at a kink the slope to its right."""
