"""Tables of a study: every value that was tried, those that validation chose marked.

A study's file declares them, ``all`` is that of every value tried::

    NAME:
      where: {skip: 0}           # of these runs; all where it is left out
      columns: [name, lr, test_accuracy]   # fields, quantities, or name, the study's own
      chosen: true               # only what validation chose
      choose: [clip]             # beside the study's tuned fields
    NAME:
      at_zeros: [{part: topk}, ...]        # what each of these has at equal zeros
      each: [skip]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.studies.arms import Arm, arms, matching
from sparsefield.studies.equal_zeros import LEVELS, MARGIN, Setting, at, settings
from sparsefield.studies.quantities import QUANTITIES
from sparsefield.studies.record import Record, Row, differing
from sparsefield.studies.study import Study
from sparsefield.sweep.labels import family
from sparsefield.sweep.statistics import SHARES, mean
from sparsefield.train import TrainConfig

MARK = "★"
HEADS = {
    **{"q": "q*", "sparsity": "asked for, s", "lr": "learning rate", "skip": "skip α²"},
    **{"name": "network", "m": "clip height m", "clip": "clip, in √q*"},
    **{"penalty_weight": "penalty weight", "head_gain": "logits, times"},
    **{"lr_head": "rate of head, times", "lr_first": "of first layer", "lr_bias": "of biases"},
}
_UNTOLD = ("checkpoint_every", "monitor_every", "log_every", "threads")


@dataclass(frozen=True)
class Table:
    """Headings, and rows of text as wide as they."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [self.columns, tuple("---:" for _ in self.columns), *self.rows]
        return "\n".join(f"| {' | '.join(map(escaped, line))} |" for line in lines)


def table(study: Study, record: Record, name: str = "all") -> Table:
    """A table that a study declares; InvalidInput if it declares none of that name."""
    if name not in (*study.tables, "all"):
        raise InvalidInput(
            f"study {study.name}: has no table {name!r}; {[*study.tables]} there are"
        )
    spec = study.tables.get(name, {})
    if "at_zeros" in spec:
        return _at_zeros(study, record, spec)
    columns = tuple(spec.get("columns") or _columns(record))
    found = arms(record, spec.get("where"), choose=spec.get("choose", ()))
    only = bool(spec.get("chosen"))
    pairs = [(arm, one) for arm in found for one in ([arm] if only else arm.tried())]
    rows = (_row(study, arm, one, columns) for arm, one in pairs)
    heads = ("", *map(heading, columns), "failed")
    return Table(heads[only:], tuple(row[only:] for row in rows))


def named(study: Study, row: Row) -> str:
    """What a study calls an arm: by its own names, else by its activation."""
    own = (entry["name"] for entry in study.names if matching([row], entry["where"]))
    return str(next(own, None) or family(row.config))


def heading(name: str) -> str:
    """What a field or a quantity is called above a column and beside an axis."""
    found = QUANTITIES.get(name)
    if found is None:
        return HEADS.get(name, name)
    return f"{found.heading}, %" if found.share else found.heading


def shown(value: Any) -> str:
    """The value of a field."""
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def escaped(text: str) -> str:
    """Stars, dollars and bars are meant as they stand."""
    return text.replace("*", r"\*").replace("$", r"\$").replace("|", r"\|")


def _columns(record: Record) -> tuple[str, ...]:
    """The fields in which runs differ, accuracy and zeros."""
    fields = {*differing([row.config for row in record.rows])} - {*_UNTOLD}
    told = (name for name in TrainConfig.model_fields if name in fields)  # in one order for all
    return (*told, "test_accuracy", "zeros_end")


def _row(study: Study, arm: Arm, one: Arm, columns: Sequence[str]) -> tuple[str, ...]:
    chosen = one.rows == arm.rows
    cells = (_cell(study, arm if chosen else one, column) for column in columns)
    mark = MARK if chosen and arm.candidates[1:] else ""
    return (mark, *cells, f"{one.failed} of {len(one.rows)}")


def _cell(study: Study, arm: Arm, column: str) -> str:
    """A value; one that was chosen says where it lies among those tried, if at an end."""
    if column in QUANTITIES:
        return QUANTITIES[column].bare(arm.mean(column))
    if column == "name":
        return named(study, arm.rows[0])
    text = family(arm.rows[0].config) if column == "family" else shown(arm[column])
    edge = arm.edge(column)
    return f"{text} ({edge} tried)" if edge else text


def _at_zeros(study: Study, record: Record, spec: Mapping[str, Any]) -> Table:
    """A row for each method and value of ``each``: what it has at each share of zeros."""
    each = tuple(spec.get("each", ()))
    rows = sorted(_methods(study, record, spec["at_zeros"], each), key=lambda row: row[: len(each)])
    heads = (f"{100 * level:g} % zeros" for level in LEVELS)
    return Table((*map(heading, each), "network", *heads), tuple(rows))


def _methods(
    study: Study, record: Record, selectors: Sequence[Mapping[str, Any]], each: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    for selector in selectors:
        cut = ", cut off at rising thresholds" if "thresholded" in selector else ""
        found = arms(
            record, {key: value for key, value in selector.items() if key != "thresholded"}
        )
        for values in dict.fromkeys(tuple(arm[field] for field in each) for arm in found):
            those = [arm for arm in found if tuple(arm[field] for field in each) == values]
            method = settings(those, cut=bool(cut))
            cells = (_met(at(method, level), level) for level in LEVELS)
            yield (*map(shown, values), f"{named(study, those[0].rows[0])}{cut}", *cells)


def _met(there: Setting | None, level: float) -> str:
    if there is None:
        return "none as sparse"
    found = mean(list(there.accuracy.values()), within=SHARES).show(100)
    return f"{found} (at {100 * there.sparse:.1f} %)" if there.sparse >= level + MARGIN else found
