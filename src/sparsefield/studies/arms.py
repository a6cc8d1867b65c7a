"""The arms of a record: runs of one config over seeds, free fields chosen by validation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sparsefield.errors import InvalidInput
from sparsefield.studies.quantities import quantity
from sparsefield.studies.record import Record, Row
from sparsefield.sweep.statistics import Interval, mean

if TYPE_CHECKING:
    from sparsefield.train import Run

BY = "validation_accuracy"
Runs = tuple[Row, ...]


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but the seed, at the values of free fields that were chosen.

    ``candidates``: the runs at each of the values tried, those chosen too, as in the record.
    """

    rows: Runs
    candidates: tuple[Runs, ...]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Arm:
        """Runs among which nothing was chosen."""
        found = tuple(rows)
        return cls(found, (found,))

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs themselves, where they were read from their directories."""
        return tuple(row.run for row in self.rows if row.run)

    def __getitem__(self, field: str) -> Any:
        return (self.rows or self.candidates[0])[0][field]

    @property
    def failed(self) -> int:
        """How many of the runs failed or have no result."""
        return sum(bool(row["failed"]) for row in self.rows)

    def by_seed(self, name: str = "test_accuracy") -> dict[int, float]:
        """A quantity by seed, of the runs that have it."""
        of = quantity(name).of
        return {row.seed: value for row in self.rows if (value := of(row)) is not None}

    def mean(self, name: str = "test_accuracy") -> Interval:
        """The mean of a quantity over the runs that have it, with its interval."""
        return mean(list(self.by_seed(name).values()), within=quantity(name).within)

    def text(self, name: str = "test_accuracy") -> str:
        """That mean as it is shown, without its unit."""
        return quantity(name).bare(self.mean(name))

    def tried(self) -> tuple[Arm, ...]:
        """An arm for each of the values tried."""
        return tuple(map(Arm.of, self.candidates))

    def edge(self, field: str) -> str:
        """``lowest`` or ``highest`` where the value is that of several tried, else nothing.

        What lies beyond an edge was not tried, and may be better.
        """
        tried = {rows[0][field] for rows in self.candidates}
        numbers = [value for value in tried if isinstance(value, int | float)]
        if len(numbers) < 2:
            return ""
        return {min(numbers): "lowest", max(numbers): "highest"}.get(self[field], "")

    def nested(self) -> Arm:
        """The arm by nested selection: each seed at the values that the other seeds choose.

        An arm that all its seeds chose is reported on these very seeds, and looks better than it
        is. Here the own run of a seed plays no part in its choice [Stone 1974; Varma and Simon
        2006]. Seeds without such a run are left out: all, where there is but one seed.
        """
        if len(self.candidates) < 2:
            return self
        seeds = dict.fromkeys(row.seed for rows in self.candidates for row in rows)
        picked = (_by_others(self.candidates, seed) for seed in seeds if len(seeds) > 1)
        return replace(self, rows=tuple(row for rows in picked for row in rows))


def arms(
    record: Record,
    where: Mapping[str, Any] | None = None,
    *,
    choose: Sequence[str] = (),
    each: Sequence[str] = (),
) -> tuple[Arm, ...]:
    """The arms of the runs that match, in the order of the record.

    ``where``: field -> its value, or a list of values, ``part`` too. ``choose``: fields that
    validation chooses, beside the study's tuned ones. ``each``: tuned fields that it does not.
    Raises InvalidInput for a field that no run has, or nothing to choose by.
    """
    return grouped(matching(record.rows, where or {}), {*record.tuned, *choose} - {*each})


def grouped(rows: Iterable[Row], free: Iterable[str] = ()) -> tuple[Arm, ...]:
    """The arms of these runs, the values of ``free`` fields chosen by validation."""
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        groups.setdefault(_key(row, free), {}).setdefault(_key(row, ()), []).append(row)
    return tuple(_chosen(tuple(map(tuple, group.values()))) for group in groups.values())


def matching(rows: Iterable[Row], where: Mapping[str, Any]) -> list[Row]:
    """The runs that have these values of fields."""
    return [row for row in rows if all(_is(row, field, where[field]) for field in where)]


def validated(rows: Sequence[Row]) -> float:
    """What every choice is by: mean validation accuracy, a run without a result as 0.

    A value at which runs are lost is so no better for the runs that it loses. Without any run, 0.
    """
    return math.fsum(row[BY] or 0.0 for row in rows) / max(len(rows), 1)


def _is(row: Row, field: str, wanted: Any) -> bool:
    try:
        value = row[field]
    except KeyError:
        raise InvalidInput(f"where: {field}={wanted!r}: no run has such a field") from None
    return value == wanted or (isinstance(wanted, list) and value in wanted)


def _chosen(candidates: tuple[Runs, ...]) -> Arm:
    """Of candidates that are equally good the first of the record."""
    made = [row for rows in candidates for row in rows if row["test_accuracy"] is not None]
    if len(candidates) > 1 and made and all(row[BY] is None for row in made):
        raise InvalidInput(
            f"{BY}: no run has it, so nothing can be chosen by it; "
            "set validation in the base of the sweep"
        )
    return Arm(max(candidates, key=validated), candidates)


def _by_others(candidates: Sequence[Runs], seed: int) -> list[Row]:
    """The run of a seed at the values that are best by the other seeds."""
    best = max(candidates, key=lambda rows: validated([row for row in rows if row.seed != seed]))
    return [row for row in best if row.seed == seed]


def _key(row: Row, left_out: Iterable[str]) -> str:
    kept = {name: value for name, value in row.config.items() if name not in left_out}
    return json.dumps([None if "part" in left_out else row.part, kept])
