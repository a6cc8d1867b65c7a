"""What an arm can be asked for: measures, what follows from them, and theory's predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.studies.predictions import predicted
from sparsefield.studies.record import Row
from sparsefield.sweep.statistics import DIFFERENCES, POSITIVE, SHARES, Interval

_LONG = 1e5  # from here on a number is shown by its power of ten


@dataclass(frozen=True)
class Quantity:
    """One number of a run, or None, and how it is shown.

    ``digits`` after the point; a ``share`` of 1 is shown in per cent, a difference of two in
    points; ``signed``: zero says that nothing changed; ``exact``: the same for every seed;
    ``counts``: what a difference in points is points of, where that is not accuracy.
    """

    heading: str
    of: Callable[[Row], float | None]
    digits: int = 1
    share: bool = True
    unit: str = ""
    signed: bool = False
    exact: bool = False
    counts: str = ""

    @property
    def scale(self) -> float:
        """From the record's unit to the one shown."""
        return 100.0 if self.share else 1.0

    @property
    def within(self) -> tuple[float, float]:
        """What a mean of it can be at all."""
        return (DIFFERENCES if self.signed else SHARES) if self.share else POSITIVE

    def text(self, found: Interval, *, signed: bool = False) -> str:
        """A mean, or with ``signed`` a difference, with its interval and unit."""
        if not found.n:
            return "none"
        return f"{self.bare(found, signed=signed)} {self._unit(signed)}".rstrip()

    def short(self, found: Interval, *, signed: bool = False) -> str:
        """The size of the estimate alone, to two digits: 96 %, or 1.4 points."""
        size = abs(self.scale * found.estimate)
        return f"{size:.{int(size < 9.95)}f} {self._unit(signed)}".rstrip()

    def bare(self, found: Interval, *, signed: bool = False) -> str:
        """The same without the unit."""
        if self.exact and found.n:
            return f"{self.scale * found.estimate:.2g}"
        if found.n and not self.share and abs(found.estimate) > _LONG:
            return f"{found.estimate:.1e}"
        return found.show(self.scale, self.digits, signed=signed).replace("-", "−")

    def _unit(self, signed: bool) -> str:
        return ("points" if signed else "%") if self.share else self.unit


def quantity(name: str) -> Quantity:
    """A quantity by its name; InvalidInput, which names all, if there is none."""
    if name not in QUANTITIES:
        raise InvalidInput(f"measure {name!r}: is unknown; there are {', '.join(QUANTITIES)}")
    return QUANTITIES[name]


def _measured(name: str, heading: str, digits: int = 1, **shown: Any) -> dict[str, Quantity]:
    return {name: Quantity(heading, lambda row: row[name], digits, **shown)}


def _predicted(name: str, heading: str, *, share: bool = False) -> dict[str, Quantity]:
    of = lambda row: predicted(name, row.config)  # noqa: E731
    return {name: Quantity(heading, of, share=share, exact=True)}


def _moved(row: Row) -> float | None:
    start, end = row["zeros_init"], row["zeros_end"]
    return None if start is None or end is None else end - start


def _far(row: Row) -> float | None:
    moved = _moved(row)
    return None if moved is None else abs(moved)


QUANTITIES: dict[str, Quantity] = {
    **_measured("test_accuracy", "test accuracy"),
    **_measured("validation_accuracy", "validation accuracy"),
    **_measured("dense_accuracy", "accuracy before the cut"),
    **_measured("cut_accuracy", "accuracy just after the cut"),
    "failed": Quantity("runs that fail", lambda row: float(bool(row["failed"]))),
    **_measured("zeros_init", "zeros at the start", counts="zeros"),
    **_measured("zeros_end", "zeros at the end", counts="zeros"),
    **_measured("zeros_end_last", "zeros at the end, last layer", counts="zeros"),
    "zeros_change": Quantity("change of zeros by training", _moved, signed=True, counts="zeros"),
    "zeros_moved": Quantity("zeros moved by training, either way", _far, counts="zeros"),
    **_measured("saturated_init", "at the clip, start"),
    **_measured("saturated_end", "at the clip, end"),
    **_measured("q_end", "q / q* at the end", 2, share=False),
    **_measured("chi1_init", "χ₁ at the start", 3, share=False),
    **_measured("chi1_end", "χ₁ at the end", 3, share=False),
    **_measured("steps_to_half", "steps to half a guess's loss", 0, share=False, unit="steps"),
    **_measured("train_loss", "training loss", 3, share=False),
    **_predicted("contraction", "predicted 1 − ρ"),
    **_predicted("noise", "predicted noise of the gradient"),
    **_predicted("escape", "predicted escape", share=True),
}
