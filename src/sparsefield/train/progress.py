"""Live progress on stderr: a bar on a terminal, one plain line an epoch elsewhere."""

from __future__ import annotations

import math
import sys
import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Silent:
    """Shows nothing; what the other displays are made from."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, step: int) -> None:
        """The run starts, or goes on, after so many steps."""

    def advance(self) -> None:
        """One more step is done."""

    def report(self, row: dict[str, Any], sparsity: float) -> None:
        """A row of metrics and the latest mean sparsity."""

    def note(self, message: str) -> None:
        """Something the user should read."""


class Lines(Silent):
    """One line an evaluation, for logs and pipes."""

    def __init__(self, step: int, total: int, epochs: int) -> None:
        self._begun, self._from, self._total, self._epochs = time.monotonic(), step, total, epochs

    def report(self, row: dict[str, Any], sparsity: float) -> None:
        """Write a line if the row has an accuracy."""
        if math.isnan(row["test_accuracy"]):
            return
        a_step = (time.monotonic() - self._begun) / max(row["step"] - self._from, 1)
        self.note(
            f"epoch {row['epoch']}/{self._epochs}  step {row['step']}/{self._total}  "
            f"loss {row['loss']:.4f}  accuracy {row['test_accuracy']:.4f}  "
            f"sparsity {sparsity:.3f}  {a_step * (self._total - row['step']):.0f} s left"
        )

    def note(self, message: str) -> None:
        """Write the message."""
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()


class Bar(Silent):
    """A live bar: step, time left, loss, accuracy, sparsity."""

    def __init__(self, console: Console, step: int, total: int) -> None:
        self._progress = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
        )
        self._task = self._progress.add_task("", total=total, completed=step)
        self._accuracy = "-"

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self) -> None:
        """Move the bar."""
        self._progress.advance(self._task)

    def report(self, row: dict[str, Any], sparsity: float) -> None:
        """Show the row beside the bar."""
        if not math.isnan(row["test_accuracy"]):
            self._accuracy = f"{row['test_accuracy']:.4f}"
        self._progress.update(
            self._task,
            description=f"loss {row['loss']:.4f}  accuracy {self._accuracy}  "
            f"sparsity {sparsity:.3f}",
        )

    def note(self, message: str) -> None:
        """Write the message above the bar."""
        self._progress.console.print(message, highlight=False, markup=False)


def display(wanted: bool | Silent, *, step: int, total: int, epochs: int) -> Silent:
    """The display that fits: one's own, none, a bar on a terminal, or lines."""
    if isinstance(wanted, Silent):
        wanted.begin(step)
        return wanted
    if not wanted:
        return Silent()
    console = Console(stderr=True)
    return Bar(console, step, total) if console.is_terminal else Lines(step, total, epochs)
