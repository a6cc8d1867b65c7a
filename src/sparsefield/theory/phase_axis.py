"""The axes of a phase diagram, and the parameters at its points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sparsefield.errors import InvalidInput

from .families import Family
from .quadrature import Array

_SPANS = {"sparsity": (0.3, 0.99), "clip": (0.1, 3.0), "m": (0.1, 3.0), "q": (0.1, 10.0)}


@dataclass(frozen=True)
class Axis:
    """``size`` values of ``name`` from ``low`` to ``high``; those of q are spaced by ratio.

    Raises
    ------
    InvalidInput
        an unknown name, fewer than two values, or ends out of order or out of range.

    >>> Axis("q", 0.1, 10.0, 3).values
    array([ 0.1,  1. , 10. ])
    """

    name: str
    low: float
    high: float
    size: int

    def __post_init__(self) -> None:
        if self.name not in _SPANS:
            raise InvalidInput(f"axis {self.name!r} is unknown; choose one of {', '.join(_SPANS)}")
        if self.size < 2:
            raise InvalidInput(f"{self.size} values of {self.name}: an axis needs at least 2")
        top = 1.0 if self.name == "sparsity" else math.inf
        if not 0.0 < self.low < self.high < top:
            raise InvalidInput(
                f"{self.name} from {self.low:g} to {self.high:g}: must ascend inside (0, {top:g}); "
                f"try {_SPANS[self.name][0]:g} to {_SPANS[self.name][1]:g}"
            )

    @classmethod
    def named(cls, name: str, span: tuple[float, float] | None = None, size: int = 240) -> Axis:
        """The axis over ``span``, by default the range in which something happens."""
        low, high = span or _SPANS.get(name, (math.nan, math.nan))
        return cls(name, low, high, size)

    @property
    def values(self) -> Array:
        """The values, ascending; shape [size]."""
        space = np.geomspace if self.name == "q" else np.linspace
        return np.asarray(space(self.low, self.high, self.size))

    def resized(self, size: int) -> Axis:
        """The same ends with another number of values."""
        return Axis(self.name, self.low, self.high, size)


def parameters(
    kind: Family, x: Axis, y: Axis, fixed: Mapping[str, float]
) -> tuple[Array, Array | None, Array]:
    """Sparsity, clip (None: no clip) and q*, which broadcast to [len(y), len(x)].

    Raises
    ------
    InvalidInput
        a parameter that is missing or given twice, or a clip for a family without one.
    """
    _check(kind, [x.name, y.name, *fixed])
    given = {name: np.asarray(value) for name, value in fixed.items()}
    given |= {x.name: x.values[None, :], y.name: y.values[:, None]}
    q = given.get("q", np.asarray(1.0))
    clip = given["m"] / np.sqrt(q) if "m" in given else given.get("clip")
    return given["sparsity"], clip, q


def _check(kind: Family, names: Sequence[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InvalidInput(f"{twice[0]} is given twice; once as an axis or as a value is enough")
    if "sparsity" not in names:
        raise InvalidInput("no sparsity given: make it an axis or give its value; try 0.9")
    clips = [name for name in names if name in ("clip", "m")]
    if clips and not kind.clipped:
        raise InvalidInput(f"{clips[0]} given for {kind.name}, which has no clip; use c{kind.name}")
    if len(clips) != 1 and kind.clipped:
        raise InvalidInput(
            f"{' and '.join(clips) or 'neither clip nor m'} given for {kind.name}: "
            "it needs one of them, as an axis or as a value; try m 1.0"
        )
