"""The ways in which a target has no sound edge-of-chaos initialisation, each its own error."""

from __future__ import annotations

from sparsefield.errors import SparsefieldError


class NegativeBiasVariance(SparsefieldError, ValueError):
    """The edge of chaos would need sigma_b2 < 0."""


class Unstable(SparsefieldError, ValueError):
    """The variance map repels at q*."""


class MultipleFixedPoints(SparsefieldError, ValueError):
    """A unique fixed point was demanded, and the variance map has others beside q*."""
