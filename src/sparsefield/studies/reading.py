"""What a record says: sentences with intervals, tables, and a figure, all computed from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sparsefield.studies.arms import Arm
from sparsefield.studies.labels import phrase
from sparsefield.studies.record import Record
from sparsefield.sweep.spread import spread
from sparsefield.sweep.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONG = 1e5  # from here on a number is shown by its power of ten
_READINGS = "sparsefield.studies.readings"
# measure -> heading, scale, digits
SHOWN: Mapping[str, tuple[str, float, int]] = {
    "test_accuracy": ("test accuracy, %", 100, 1),
    "validation_accuracy": ("validation accuracy, %", 100, 1),
    "zeros_init": ("zeros at the start, %", 100, 1),
    "zeros_end": ("zeros at the end, %", 100, 1),
    "zeros_end_last": ("zeros at the end, last layer, %", 100, 1),
    "saturated_init": ("saturated at the start, %", 100, 1),
    "saturated_end": ("saturated at the end, %", 100, 1),
    "q_end": ("q / q* at the end", 1, 2),
    "chi1_init": ("χ₁ at the start", 1, 3),
    "chi1_end": ("χ₁ at the end", 1, 3),
    "grad_ratio_init": ("gradient, first / last layer", 1, 2),
    "logit_rms_init": ("logits at the start, rms", 1, 2),
    "logit_rms_end": ("logits at the end, rms", 1, 2),
    "steps_to_half": ("steps to half of ln(classes)", 1, 0),
    "train_loss": ("training loss", 1, 3),
}


@dataclass(frozen=True)
class Finding:
    """One sentence, and the number that it rests on.

    ``nested``: that number by nested selection, see :meth:`Arm.nested`; None where nothing that it
    rests on was chosen.
    """

    sentence: str
    interval: Interval
    nested: Interval | None = None


@dataclass(frozen=True)
class Table:
    """A table of text: a title, headings, rows as wide as they, and a line below it or none."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Reading:
    """What a record says: the first finding is the headline; ``caption`` says what ``draw`` shows.

    ``draw`` makes the figure, in the house style.
    """

    findings: tuple[Finding, ...]
    tables: tuple[Table, ...]
    draw: Callable[[], Figure]
    caption: str


def read(record: Record) -> Reading:
    """What a record says, by the reading of its study, or the plain one where it has none."""
    name = f"{_READINGS}.{record.study.replace('-', '_')}"
    if find_spec(name) is None:
        name = f"{_READINGS}.plain"
    reading: Reading = import_module(name).read(record)
    return reading


def arm_table(title: str, arms: Sequence[Arm], fields: Sequence[str], *more: str) -> Table:
    """One line an arm: the named fields, the chosen values, test accuracy, and more measures.

    Of the test accuracy mean, interval, standard deviation, n and failed runs; of each measure of
    ``more`` the mean ± sd. A chosen value that is the lowest or highest tried says so.
    """
    names = tuple(dict.fromkeys((*fields, *(arms[0].tuned if arms else ()))))
    several = {name for name in names for arm in arms if name in arm.tuned and arm.tried(name)[1:]}
    columns = (
        *(f"{headed(name)}, chosen" if name in several else headed(name) for name in names),
        *("test accuracy, %", "95 % interval", "sd", "n", "failed"),
        *(SHOWN[measure][0] for measure in more),
    )
    rows = ((*_settings(arm, names, several), *_measured(arm, more)) for arm in arms)
    return Table(title, columns, tuple(rows), _choice_note(arms, several))


def headed(field: str) -> str:
    """The name of a field above a column."""
    return {"q": "q*", "sparsity": "s", "lr": "learning rate", "skip": "skip α²"}.get(field, field)


def shown(value: Any) -> str:
    """The value of a field in a table."""
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def told(arm: Arm, fields: Sequence[str]) -> str:
    """An arm in words, by these fields."""
    return ", ".join(phrase(name, arm[name]) for name in fields)


def points(found: Interval) -> str:
    """A difference of two shares, in percentage points, with its interval."""
    return f"{found.show(100, signed=True)} points".replace("-", "−")


def change(found: Interval) -> str:
    """What a difference says: that it rises, falls, or cannot be told from none."""
    if not found.n:
        return "cannot be compared, for want of runs of one seed"
    if not found.known:
        return "is not known to change: there are too few seeds for an interval"
    if not found.excludes(0.0):
        return "is not told apart from no change"
    return "rises" if found.estimate > 0 else "falls"


def seeds(n: int) -> str:
    """So many seeds, in words."""
    return f"{n} seed{'' if n == 1 else 's'}"


def _settings(arm: Arm, names: Sequence[str], several: AbstractSet[str]) -> tuple[str, ...]:
    """The values of fields, of the chosen ones with what there was to choose from."""
    words = {name: f" ({word})" for name in several if (word := _choice(arm, name))}
    return tuple(f"{shown(arm[name])}{words.get(name, '')}" for name in names)


def _choice(arm: Arm, name: str) -> str:
    """Where the value lies among those tried, if that may have bound the choice."""
    return arm.edge(name) if arm.tried(name)[1:] else "only one"


def _choice_note(arms: Sequence[Arm], several: AbstractSet[str]) -> str:
    """What the words beside the chosen values say, as far as there are any."""
    words = {_choice(arm, name) for arm in arms for name in several}
    edges = [f"({word})" for word in ("lowest", "highest") if word in words]
    told = [f"{' or '.join(edges)}: of the values tried for this arm"] if edges else []
    told += ["(only one): one value was tried for this arm"] if "only one" in words else []
    return f"{'; '.join(told)}." if told else ""


def _measured(arm: Arm, more: Sequence[str]) -> tuple[str, ...]:
    return (*_accuracy(arm), *(_spread(arm, measure) for measure in more))


def _accuracy(arm: Arm) -> tuple[str, ...]:
    values = list(arm.by_seed().values())
    failed = f"{arm.failed} of {arm.n}"
    if not values:
        return "none", "none", "none", "0", failed
    found, around = arm.mean(), spread(values)
    ends = f"{100 * found.low:.1f} – {100 * found.high:.1f}" if found.known else "none"
    sd = "none" if math.isnan(around.sd) else f"{100 * around.sd:.1f}"
    return f"{100 * found.estimate:.1f}", ends, sd, str(found.n), failed


def _spread(arm: Arm, measure: str) -> str:
    values = list(arm.by_seed(measure).values())
    _, scale, digits = SHOWN[measure]
    if not values:
        return "none"
    around = spread(values)
    if abs(scale * around.mean) < _LONG:
        return around.show(scale, digits)
    return f"{scale * around.mean:.1e} ± {scale * around.sd:.1e}"  # a variance that ran away
