"""What was measured for a chain of layers, and the choice it makes from the densities seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

SPARSE, ROWS, TORCH = 0, 1, 2  # how one layer runs
How = Literal["together", "apart", "alone"]


@dataclass(frozen=True)
class Plan:
    """The choices for one chain of layers at one batch size.

    Attributes
    ----------
    batch
        at which it was measured.
    how
        the threads share each layer's outputs (``together``), or the samples (``apart``), or one
        thread does all (``alone``).
    crossover
        per layer, the density of the input from which on dense is faster: 0 always, above 1 never.
    dense
        per layer, the faster of the dense ways: ``ROWS`` (the kernels) or ``TORCH``.
    """

    batch: int
    how: How
    crossover: tuple[float, ...]
    dense: tuple[int, ...]

    @cached_property
    def _limits(self) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        return np.array(self.crossover), np.array(self.dense, np.uint8)

    def choose(self, density: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Per layer, how it should run at these densities."""
        crossover, dense = self._limits
        return (density >= crossover) * dense  # SPARSE is 0

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON has it."""
        return asdict(self)


def plan_from_dict(content: Mapping[str, Any]) -> Plan:
    """The inverse of :meth:`Plan.to_dict`; KeyError, TypeError or ValueError if damaged."""
    plan = Plan(
        int(content["batch"]),
        content["how"],
        tuple(float(value) for value in content["crossover"]),
        tuple(int(value) for value in content["dense"]),
    )
    known = plan.how in ("together", "apart", "alone") and {*plan.dense} <= {SPARSE, ROWS, TORCH}
    if plan.batch < 1 or not known or len(plan.crossover) != len(plan.dense):
        raise ValueError(f"plan {content}")
    return plan


def nearest(plans: tuple[Plan, ...], batch: int) -> Plan:
    """The plan measured at the batch size nearest to ``batch`` on a logarithmic scale."""
    return min(plans, key=lambda plan: abs(math.log(plan.batch / max(1, batch))))


def stretches(chosen: NDArray[np.uint8]) -> tuple[tuple[bool, int, int], ...]:
    """Maximal runs [first, last) of layers, each by PyTorch (True) or by the kernels (False).

    >>> stretches(np.array([2, 0, 1, 0, 2], np.uint8))
    ((True, 0, 1), (False, 1, 4), (True, 4, 5))
    """
    torch = chosen == TORCH
    edges = [0, *(np.flatnonzero(torch[1:] != torch[:-1]) + 1).tolist(), len(chosen)]
    return tuple((bool(torch[first]), first, last) for first, last in pairwise(edges))


class Way(NamedTuple):
    """How one call runs.

    Attributes
    ----------
    chosen
        per layer: ``SPARSE``, ``ROWS`` or ``TORCH``.
    how
        what the threads share.
    stretches
        of :func:`stretches`.
    rows, rows_at
        per layer, 1 where the kernels multiply by every input; and its address.
    """

    chosen: NDArray[np.uint8]
    how: How
    stretches: tuple[tuple[bool, int, int], ...]
    rows: NDArray[np.uint8]
    rows_at: int


def way(chosen: NDArray[np.uint8], how: How) -> Way:
    """The way that these choices say."""
    rows = (chosen == ROWS).view(np.uint8)
    return Way(chosen, how, stretches(chosen), rows, rows.ctypes.data)
