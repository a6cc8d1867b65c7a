"""The arms of a record: runs of one config over seeds, tuned fields chosen by validation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.studies.record import Record, Row
from sparsefield.sweep.statistics import ANYTHING, SHARES, Interval, mean, share

BY = "validation_accuracy"
# Measures that cannot leave [0, 1], and so neither can their mean.
ARE_SHARES = frozenset(
    {"test_accuracy", BY, "zeros_init", "zeros_end", "zeros_end_last"}
    | {"saturated_init", "saturated_end"}
)
Runs = tuple[Row, ...]


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
    candidates
        the runs at each of the values tried, those chosen too, in the order of the record.
    """

    part: str
    config: Mapping[str, Any]
    tuned: Mapping[str, Any]
    rows: Runs
    candidates: tuple[Runs, ...]

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
        within = SHARES if measure in ARE_SHARES else ANYTHING
        return mean(list(self.by_seed(measure).values()), within=within)

    def validated(self) -> float:
        """What the arm is chosen by: see :func:`validated`."""
        return validated(self.rows)

    def tried(self, field: str) -> tuple[Any, ...]:
        """The values of a field that there were to choose from, in the order of the record."""
        return tuple(dict.fromkeys(rows[0].config[field] for rows in self.candidates))

    def edge(self, field: str) -> str:
        """``lowest`` or ``highest`` where the value is that of several tried, else nothing.

        What lies beyond an edge was not tried, and may be better.
        """
        numbers = [value for value in self.tried(field) if isinstance(value, int | float)]
        if len(numbers) < 2:
            return ""
        return {min(numbers): "lowest", max(numbers): "highest"}.get(self[field], "")

    def nested(self) -> Arm:
        """The arm by nested selection: each seed at the values that the other seeds choose.

        An arm chosen from several by all its seeds is reported on the very seeds that chose it,
        and looks better than it is. Here the validation of the other seeds chooses for each seed,
        whose own run plays no part in the choice [Stone 1974; Varma and Simon 2006]; it is what
        choosing by one seed fewer gives. As two seeds share most of those that choose for them,
        they are not quite independent. Seeds without such a run are left out: all, where there is
        but one seed. ``config`` and ``tuned`` stay those that all seeds choose.
        """
        if len(self.candidates) < 2:
            return self
        seeds = dict.fromkeys(row.seed for rows in self.candidates for row in rows)
        picked = (_by_others(self.candidates, seed) for seed in seeds if len(seeds) > 1)
        return replace(self, rows=tuple(row for rows in picked for row in rows))

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
    """For each arm the tuned values whose runs are best by :func:`validated`.

    An arm is the rows of a part that differ only in the tuned fields and the seed. The choice is
    by images kept apart from training; the arm is then reported by its test images. Of values that
    are equally good the first of the record is chosen.

    Raises
    ------
    InvalidInput
        An arm has several candidates, and no run of it ``by``: nothing was kept apart to choose by.
    """
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        candidates = groups.setdefault(_key(row, tuned), {})
        candidates.setdefault(_key(row, ()), []).append(row)
    return tuple(_chosen(tuple(map(tuple, group.values())), tuned, by) for group in groups.values())


def best_of(arms: Sequence[Arm]) -> Arm:
    """The arm that validation chooses of several; its candidates are those of all."""
    candidates = tuple(rows for arm in arms for rows in arm.candidates)
    return replace(max(arms, key=Arm.validated), candidates=candidates)


def validated(rows: Sequence[Row], by: str = BY) -> float:
    """What every choice is by: the mean of ``by`` over runs, one without a result as 0.

    A value at which runs are lost is so no better for the runs that it loses. Without any run, 0.
    """
    return math.fsum(row[by] or 0.0 for row in rows) / max(len(rows), 1)


def _chosen(candidates: tuple[Runs, ...], tuned: Sequence[str], by: str) -> Arm:
    made = [row for rows in candidates for row in rows if row["test_accuracy"] is not None]
    if len(candidates) > 1 and made and all(row[by] is None for row in made):
        raise InvalidInput(
            f"{by}: no run has it, so {', '.join(tuned)} cannot be chosen by it; "
            "set validation in the base of the sweep"
        )
    best = max(candidates, key=lambda rows: validated(rows, by))
    config = best[0].config
    values = {name: config[name] for name in tuned}
    return Arm(best[0].part, config, values, best, candidates)


def _by_others(candidates: Sequence[Runs], seed: int) -> list[Row]:
    """The run of a seed at the values that are best by the other seeds."""
    best = max(candidates, key=lambda rows: validated([row for row in rows if row.seed != seed]))
    return [row for row in best if row.seed == seed]


def _key(row: Row, left_out: Sequence[str]) -> str:
    kept = {name: value for name, value in row.config.items() if name not in left_out}
    return json.dumps([row.part, kept])
