"""The arms of a record: runs of one config over seeds, tuned fields chosen by validation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.experiments.studies.record import Record, Row
from sparsefield.experiments.studies.statistics import Interval, mean, share

BY = "validation_accuracy"
# Measures that cannot leave [0, 1], and so neither can their mean.
_SHARES = frozenset(
    {"test_accuracy", BY, "zeros_init", "zeros_end", "zeros_end_last"}
    | {"saturated_init", "saturated_end"}
)


@dataclass(frozen=True)
class Arm:
    """Runs of a part that differ in nothing but the seed, at the chosen values of tuned fields.

    Attributes
    ----------
    part
        of the study.
    config
        all fields but the seed.
    tuned
        the chosen value of each tuned field.
    rows
        the runs, in the order of the record.
    """

    part: str
    config: Mapping[str, Any]
    tuned: Mapping[str, Any]
    rows: tuple[Row, ...]

    def __getitem__(self, field: str) -> Any:
        return self.config[field]

    @property
    def n(self) -> int:
        """How many runs there are, those without a result too."""
        return len(self.rows)

    @property
    def failed(self) -> int:
        """How many of the runs failed or have no result."""
        return sum(bool(row["failed"]) for row in self.rows)

    def by_seed(self, measure: str = "test_accuracy") -> dict[int, float]:
        """The measure by seed, of the runs that have it."""
        return {row.seed: row[measure] for row in self.rows if row[measure] is not None}

    def mean(self, measure: str = "test_accuracy") -> Interval:
        """The mean of a measure over the runs that have it, with its interval."""
        within = (0.0, 1.0) if measure in _SHARES else (-math.inf, math.inf)
        return mean(list(self.by_seed(measure).values()), within=within)

    def validated(self) -> float:
        """Mean validation accuracy of the runs that have it; -1 where none has."""
        chosen_by = self.mean(BY)
        return chosen_by.estimate if chosen_by.n else -1.0

    def failing(self) -> Interval:
        """The share of runs that fail."""
        return share(self.failed, self.n)


def arms(record: Record, part: str | None = None, **values: Any) -> tuple[Arm, ...]:
    """The arms of a record, or of a part, that have these values of fields, in its order.

    Tuned fields are chosen in each; see :func:`chosen`.
    """
    rows = record.rows if part is None else record.rows_of(part)
    wanted = [row for row in rows if all(row.config[name] == values[name] for name in values)]
    return chosen(wanted, record.tuned)


def chosen(rows: Iterable[Row], tuned: Sequence[str], by: str = BY) -> tuple[Arm, ...]:
    """For each arm the tuned values whose runs have the highest mean of ``by``.

    An arm is the rows of a part that differ only in the tuned fields and the seed. The choice is
    by images kept apart from training; the arm is then reported by its test images. A run without
    a result counts as 0. Of values that are equally good the first of the record is chosen.

    Raises
    ------
    InvalidInput
        An arm has several candidates, and no run of it ``by``: nothing was kept apart to choose by.
    """
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        candidates = groups.setdefault(_key(row, tuned), {})
        candidates.setdefault(_key(row, ()), []).append(row)
    return tuple(_best(list(group.values()), tuned, by) for group in groups.values())


def _best(candidates: list[list[Row]], tuned: Sequence[str], by: str) -> Arm:
    made = [row for rows in candidates for row in rows if row["test_accuracy"] is not None]
    if len(candidates) > 1 and made and all(row[by] is None for row in made):
        raise InvalidInput(
            f"{by}: no run has it, so {', '.join(tuned)} cannot be chosen by it; "
            "set validation in the base of the sweep"
        )
    best = max(candidates, key=lambda rows: math.fsum(row[by] or 0.0 for row in rows) / len(rows))
    config = best[0].config
    return Arm(best[0].part, config, {name: config[name] for name in tuned}, tuple(best))


def _key(row: Row, left_out: Sequence[str]) -> str:
    kept = {name: value for name, value in row.config.items() if name not in left_out}
    return json.dumps([row.part, kept])
