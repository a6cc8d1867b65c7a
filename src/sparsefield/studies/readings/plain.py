"""The reading of a study that has none of its own: every arm, and the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsefield.pictures.plotting import looks, new_figure, styled
from sparsefield.studies.arms import Arm, arms
from sparsefield.studies.drawing import draw_rows
from sparsefield.studies.reading import Finding, Reading, Table, arm_table, seeds, told
from sparsefield.studies.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def read(record: Record) -> Reading:
    """Each arm with its accuracy; the best of each part."""
    return Reading(
        tuple(_best(record, part) for part in record.parts),
        tuple(_table(record, part) for part in record.parts),
        lambda: styled(lambda: _draw(record)),
        "Test accuracy of each arm: mean and 95 % interval; faint dots are seeds.",
    )


def _fields(record: Record, part: str) -> tuple[str, ...]:
    return tuple(name for name in record.fields[part] if name not in record.tuned)


def _best(record: Record, part: str) -> Finding:
    best = max(arms(record, part), key=_accuracy)
    found = best.mean()
    name = told(best, _fields(record, part)) or "the one arm"
    if not found.n:
        return Finding(f"{part}: no run has a result.", found)
    return Finding(
        f"{part}: the most accurate arm is {name}, with {found.show(100)} % test accuracy over "
        f"{seeds(found.n)}.",
        found,
    )


def _accuracy(arm: Arm) -> float:
    found = arm.mean()
    return found.estimate if found.n else -1.0


def _table(record: Record, part: str) -> Table:
    return arm_table(part, arms(record, part), _fields(record, part), "zeros_init", "zeros_end")


def _draw(record: Record) -> Figure:
    counts = [len(arms(record, part)) for part in record.parts]
    figure = new_figure(8.0, 1.0 * len(counts) + 0.24 * sum(counts))
    panels = figure.subplots(len(counts), 1, squeeze=False, height_ratios=counts)[:, 0]
    for part, axes, look in zip(record.parts, panels, looks(len(counts)), strict=True):
        found, fields = arms(record, part), _fields(record, part)
        draw_rows(axes, [told(arm, fields) or part for arm in found], found, look, "test_accuracy")
        axes.set_title(part)
    return figure
