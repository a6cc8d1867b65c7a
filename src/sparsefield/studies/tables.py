"""Tables of a study: every value that was tried, those that validation chose marked.

A table is declared in the study's file::

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
from sparsefield.studies.equal_zeros import LEVELS, MARGIN, at, cut_off, method
from sparsefield.studies.labels import family
from sparsefield.studies.quantities import QUANTITIES, quantity, shown
from sparsefield.studies.record import Record, Row, differing
from sparsefield.studies.study import Study
from sparsefield.sweep.statistics import SHARES, mean

MARK = "★"
HEADS = {"q": "q*", "sparsity": "s", "lr": "learning rate", "skip": "skip α²", "name": "network"}
EVERY = ("test_accuracy", "zeros_end")  # in the full table, after the fields that vary


@dataclass(frozen=True)
class Table:
    """Headings, and rows of text as wide as they."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table as Markdown, stars and bars meant as they stand."""
        lines = [self.columns, tuple("---:" for _ in self.columns), *self.rows]
        return "\n".join(f"| {' | '.join(map(escaped, line))} |" for line in lines)


def table(study: Study, record: Record, name: str = "") -> Table:
    """A table that a study declares, or without a name that of every value tried.

    Raises
    ------
    InvalidInput
        The study declares none of that name.
    """
    if name and name not in study.tables:
        there = ", ".join(study.tables) or "none"
        raise InvalidInput(f"study {study.name}: has no table {name!r}; there are {there}")
    spec = study.tables.get(name or "all", {})
    if "at_zeros" in spec:
        return _at_zeros(study, record, spec)
    columns = tuple(spec.get("columns") or _columns(study, record))
    found = arms(record, spec.get("where"), choose=spec.get("choose", ()))
    rows = [
        _row(study, arm, arm if spec.get("chosen") else one, columns)
        for arm in found
        for one in ([arm] if spec.get("chosen") else arm.tried())
    ]
    heads = map(heading, columns)
    mark = () if spec.get("chosen") else ("",)
    return Table((*mark, *heads, "failed"), tuple(row[bool(spec.get("chosen")) :] for row in rows))


def named(study: Study, row: Row) -> str:
    """What a study calls an arm: by its own names, else by its activation."""
    own = (entry["name"] for entry in study.names if matching([row], entry["where"]))
    return str(next(own, None) or family(row.config))


def varying(record: Record) -> tuple[str, ...]:
    """The fields in which the runs of a record differ, seeds aside."""
    skipped = ("checkpoint_every", "monitor_every", "log_every", "threads")
    return tuple(
        name for name in differing([row.config for row in record.rows]) if name not in skipped
    )


def escaped(text: str) -> str:
    """Stars, dollars and bars are meant as they stand."""
    return text.replace("*", r"\*").replace("$", r"\$").replace("|", r"\|")


def heading(name: str) -> str:
    """What a field or a quantity is called above a column and beside an axis."""
    if name not in QUANTITIES:
        return HEADS.get(name, name)
    found = quantity(name)
    return f"{found.heading}, %" if found.share else found.heading


def _columns(study: Study, record: Record) -> Iterator[str]:
    fields = varying(record)
    if study.names:
        yield "name"
    yield from (name for name in fields if not study.names or name not in ("family", "penalty"))
    yield from EVERY


def _row(study: Study, arm: Arm, one: Arm, columns: Sequence[str]) -> tuple[str, ...]:
    chosen = one.rows == arm.rows
    mark = MARK if chosen and arm.candidates[1:] else ""
    cells = (_cell(study, arm, one, column, chosen=chosen) for column in columns)
    return (mark, *cells, f"{one.failed} of {len(one.rows)}")


def _cell(study: Study, arm: Arm, one: Arm, column: str, *, chosen: bool) -> str:
    if column == "name":
        return named(study, one.rows[0])
    if column in QUANTITIES:
        found = one.mean(column)
        if column in ("contraction", "noise", "escape") and found.n:
            return f"{QUANTITIES[column].scale * found.estimate:.2g}"
        return QUANTITIES[column].bare(found)
    text = family(one.rows[0].config) if column == "family" else shown(one[column])
    edge = arm.edge(column) if chosen else ""
    return f"{text} ({edge} tried)" if edge else text


def _at_zeros(study: Study, record: Record, spec: Mapping[str, Any]) -> Table:
    """A row for each method and value of ``each``: what it has at each share of zeros."""
    each = tuple(spec.get("each", ()))
    rows = []
    for selector in spec["at_zeros"]:
        kept = {key: value for key, value in selector.items() if key != "thresholded"}
        found = arms(record, kept)
        for values in dict.fromkeys(tuple(arm[field] for field in each) for arm in found):
            those = [arm for arm in found if tuple(arm[field] for field in each) == values]
            settings = (cut_off if "thresholded" in selector else method)(those)
            cut = ", cut off at rising thresholds" if "thresholded" in selector else ""
            name = f"{named(study, those[0].rows[0])}{cut}"
            stands = (at(settings, level) for level in LEVELS)
            cells = (_stand(stand, level) for stand, level in zip(stands, LEVELS, strict=True))
            rows.append((*map(shown, values), name, *cells))
    order = sorted(rows, key=lambda row: row[: len(each)])
    heads = (f"{100 * level:g} % zeros" for level in LEVELS)
    return Table((*map(heading, each), "network", *heads), tuple(order))


def _stand(stand: Any, level: float) -> str:
    if stand is None:
        return "none as sparse"
    found = mean(list(stand.accuracy.values()), within=SHARES).show(100)
    more = stand.zeros >= level + MARGIN
    return f"{found} (with {100 * stand.zeros:.1f} % zeros)" if more else found
