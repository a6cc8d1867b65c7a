"""What an arm can be asked for: measures, what follows from them, and theory's predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.studies.predictions import predicted
from sparsefield.studies.record import Row
from sparsefield.sweep.statistics import ANYTHING, DIFFERENCES, SHARES, Interval

_LONG = 1e5  # from here on a number is shown by its power of ten


@dataclass(frozen=True)
class Quantity:
    """One number of a run, or None, and how it is shown.

    ``share``: of 1, shown in per cent, a difference of two in points. ``signed``: it may be
    negative, and zero says that nothing changed.
    """

    heading: str
    of: Callable[[Row], float | None]
    share: bool = True
    digits: int = 1
    unit: str = ""
    signed: bool = False

    @property
    def scale(self) -> float:
        """From the record's unit to the one shown."""
        return 100.0 if self.share else 1.0

    @property
    def within(self) -> tuple[float, float]:
        """What a mean of it can be at all."""
        return (DIFFERENCES if self.signed else SHARES) if self.share else ANYTHING

    def text(self, found: Interval, *, signed: bool = False) -> str:
        """A mean, or with ``signed`` a difference, with its interval and unit."""
        return f"{self.bare(found, signed=signed)}{self.unit_of(signed=signed)}"

    def bare(self, found: Interval, *, signed: bool = False) -> str:
        """The same without the unit."""
        if self.share or found.n == 0 or abs(found.estimate) < _LONG:
            return found.show(self.scale, self.digits, signed=signed).replace("-", "−")
        return f"{found.estimate:.1e}"

    def unit_of(self, *, signed: bool) -> str:
        """Its unit, or that of a difference."""
        unit = ("points" if signed else "%") if self.share else self.unit
        return f" {unit}" if unit else ""


def _measure(name: str) -> Callable[[Row], float | None]:
    return lambda row: row[name]


def _prediction(name: str) -> Callable[[Row], float | None]:
    return lambda row: predicted(name, row.config)


def _shift(row: Row) -> float | None:
    start, end = row["zeros_init"], row["zeros_end"]
    return None if start is None or end is None else end - start


def _moved(row: Row) -> float | None:
    shift = _shift(row)
    return None if shift is None else abs(shift)


QUANTITIES = {
    "test_accuracy": Quantity("test accuracy", _measure("test_accuracy")),
    "validation_accuracy": Quantity("validation accuracy", _measure("validation_accuracy")),
    "failed": Quantity("runs that fail", lambda row: float(bool(row["failed"]))),
    "zeros_init": Quantity("zeros at the start", _measure("zeros_init")),
    "zeros_end": Quantity("zeros at the end", _measure("zeros_end")),
    "zeros_end_last": Quantity("zeros at the end, last layer", _measure("zeros_end_last")),
    "zeros_change": Quantity("change of zeros by training", _shift, signed=True),
    "zeros_moved": Quantity("zeros moved by training, either way", _moved),
    "saturated_init": Quantity("at the clip, start", _measure("saturated_init")),
    "saturated_end": Quantity("at the clip, end", _measure("saturated_end")),
    "q_end": Quantity("q / q* at the end", _measure("q_end"), False, 2),
    "chi1_init": Quantity("χ₁ at the start", _measure("chi1_init"), False, 3),
    "chi1_end": Quantity("χ₁ at the end", _measure("chi1_end"), False, 3),
    "grad_ratio_init": Quantity(
        "gradient, first / last layer", _measure("grad_ratio_init"), False, 2
    ),
    "logit_rms_init": Quantity("logits at the start, rms", _measure("logit_rms_init"), False, 2),
    "logit_rms_end": Quantity("logits at the end, rms", _measure("logit_rms_end"), False, 2),
    "steps_to_half": Quantity(
        "steps to half a guess's loss", _measure("steps_to_half"), False, 0, "steps"
    ),
    "train_loss": Quantity("training loss", _measure("train_loss"), False, 3),
    "contraction": Quantity("predicted 1 − ρ", _prediction("contraction"), False, 4),
    "noise": Quantity("predicted noise of the gradient", _prediction("noise"), False, 1),
    "escape": Quantity("predicted escape", _prediction("escape"), digits=2),
}


def quantity(name: str) -> Quantity:
    """A quantity by its name.

    Raises
    ------
    InvalidInput
        There is none of that name.
    """
    if name not in QUANTITIES:
        raise InvalidInput(f"measure {name!r}: is unknown; there are {', '.join(QUANTITIES)}")
    return QUANTITIES[name]


def shown(value: Any) -> str:
    """The value of a field, for a table or a key."""
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
