"""Live progress, on stderr, of measuring the finished networks of a study."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sparsefield.sweep.progress import duration

EVERY = 5.0  # seconds between lines, at least


class Quiet:
    """Shows nothing; what the other displays are made from."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.count, self._clock, self._begun = total, 0, clock, clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self) -> None:
        """One more run is measured."""
        self.count += 1

    def seconds_left(self) -> float:
        """At the pace so far; infinite while there is none."""
        if not self.count:
            return math.inf
        return (self.total - self.count) * (self._clock() - self._begun) / self.count


class Lines(Quiet):
    """A line now and then, for logs and pipes."""

    def __init__(
        self, console: Console, total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(total, clock)
        self._console, self._said = console, self._begun

    def __enter__(self) -> Self:
        self._write(f"measuring the networks of {self.total} run{'' if self.total == 1 else 's'}")
        return self

    def advance(self) -> None:
        """Write a line, if the last is some seconds old."""
        super().advance()
        if self._clock() - self._said >= EVERY:
            self._said = self._clock()
            self._write(
                f"{self.count}/{self.total} measured  ({duration(self.seconds_left())} left)"
            )

    def _write(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Bar(Quiet):
    """A live bar with the time that is left."""

    def __init__(
        self, console: Console, total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(total, clock)
        self._progress = Progress(
            TextColumn("measuring"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("runs"),
            TimeElapsedColumn(),
            TextColumn("left: {task.fields[left]}"),
            console=console,
        )
        self._task = self._progress.add_task("", total=total, left="?")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self) -> None:
        """Move the bar."""
        super().advance()
        left = duration(self.seconds_left())
        self._progress.update(self._task, completed=self.count, left=left)


def measuring(wanted: bool, total: int) -> Quiet:
    """The display that fits: none, live on a terminal, or lines."""
    if not wanted:
        return Quiet(total)
    console = Console(stderr=True)
    return Bar(console, total) if console.is_terminal else Lines(console, total)
