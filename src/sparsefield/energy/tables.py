"""Named tables of energy per operation and per access, with their sources and what they omit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparsefield.errors import InvalidInput


@dataclass(frozen=True)
class MultiplyAdd:
    """Energy of one multiply-accumulate.

    Attributes
    ----------
    multiply_picojoules, add_picojoules
        of the product, and of its sum in the accumulator's format.
    reading
        which entries of the table these are, and any that stands in for one it lacks.
    """

    multiply_picojoules: float
    add_picojoules: float
    reading: str

    @property
    def picojoules(self) -> float:
        """Both together."""
        return self.multiply_picojoules + self.add_picojoules


@dataclass(frozen=True)
class MemoryLevel:
    """One level of memory.

    Attributes
    ----------
    name
        as the table has it.
    capacity_bytes
        what fits, infinite for main memory.
    low_picojoules, high_picojoules
        per 64-bit access; equal where the table gives one figure.
    """

    name: str
    capacity_bytes: float
    low_picojoules: float
    high_picojoules: float

    @property
    def picojoules_per_byte(self) -> float:
        """At the middle of the range."""
        return (self.low_picojoules + self.high_picojoules) / 2 / 8


@dataclass(frozen=True)
class EnergyTable:
    """A published table.

    Attributes
    ----------
    name
        what ``table=`` takes.
    source
        the publication.
    multiply_add
        by number format: float32, bfloat16, int8.
    levels
        memory from the smallest to the largest.
    leaves_out
        what its figures do not hold.
    """

    name: str
    source: str
    multiply_add: Mapping[str, MultiplyAdd]
    levels: tuple[MemoryLevel, ...]
    leaves_out: str

    def level_for(self, size_bytes: float) -> MemoryLevel:
        """The smallest level that holds so many bytes."""
        return next(level for level in self.levels if size_bytes <= level.capacity_bytes)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: the capacity of main memory is null."""
        answer = asdict(self)
        for level in answer["levels"]:
            if math.isinf(level["capacity_bytes"]):
                level["capacity_bytes"] = None
        return answer


def _levels(*picojoules: float, memory: tuple[str, float, float]) -> tuple[MemoryLevel, ...]:
    sizes = (("8 KB cache", 8 * 1024), ("32 KB cache", 32 * 1024), ("1 MB cache", 1024**2))
    caches = [
        MemoryLevel(name, size, energy, energy)
        for (name, size), energy in zip(sizes, picojoules, strict=True)
    ]
    name, low, high = memory
    return (*caches, MemoryLevel(name, math.inf, low, high))


_LEAVES_OUT = (
    "instruction fetch, decode and control (about 70 pJ an instruction in the 45 nm table's "
    "in-order core, shared by the lanes of a vector instruction), register files, leakage, "
    "wires between chips, caches beyond 1 MB, refresh and open pages of DRAM, prefetched bytes "
    "that go unused"
)

TABLES = {
    table.name: table
    for table in (
        EnergyTable(
            "horowitz-45nm",
            "M. Horowitz, Computing's Energy Problem (and what we can do about it), ISSCC 2014, "
            "45 nm, 0.9 V",
            {
                "float32": MultiplyAdd(3.7, 0.9, "float32 multiply, float32 add"),
                "bfloat16": MultiplyAdd(
                    1.1,
                    0.9,
                    "float16 multiply stands in for bfloat16, which the table lacks (and which "
                    "costs less: 8 bits of significand against 11), float32 add",
                ),
                "int8": MultiplyAdd(0.2, 0.1, "int8 multiply, int32 add"),
            },
            _levels(10.0, 20.0, 100.0, memory=("DRAM", 1300.0, 2600.0)),
            _LEAVES_OUT,
        ),
        EnergyTable(
            "jouppi-7nm",
            "N. P. Jouppi et al., Ten Lessons From Three Generations Shaped Google's TPUv4i, "
            "ISCA 2021, table 2, 7 nm",
            {
                "float32": MultiplyAdd(1.31, 0.38, "float32 multiply, float32 add"),
                "bfloat16": MultiplyAdd(0.21, 0.38, "bfloat16 multiply, float32 add"),
                "int8": MultiplyAdd(0.07, 0.03, "int8 multiply, int32 add"),
            },
            _levels(7.5, 8.5, 14.0, memory=("DDR4", 1300.0, 1300.0)),
            _LEAVES_OUT,
        ),
    )
}


def energy_table(name: str) -> EnergyTable:
    """The table by name.

    Raises
    ------
    InvalidInput
        an unknown name.

    >>> energy_table("horowitz-45nm").multiply_add["float32"].multiply_picojoules
    3.7
    """
    if name not in TABLES:
        raise InvalidInput(f"table {name!r}: unknown; choose one of {', '.join(TABLES)}")
    return TABLES[name]
