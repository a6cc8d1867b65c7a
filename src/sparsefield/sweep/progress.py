"""Live progress of many runs on stderr, with the time that is left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from sparsefield.sweep.engine import Steps
from sparsefield.sweep.workload import Workload

if TYPE_CHECKING:
    from sparsefield.train import Result


class Quiet:
    """Shows nothing; what the other displays are made from."""

    def __init__(self, work: Workload, *, total: int, ended: int, name: str = "") -> None:
        self.work, self.total, self.count = work, total, ended
        self.heading = f"{name}: " if name else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def started(self, name: str) -> None:
        """A run is being made."""

    def stepped(self, steps: Steps) -> None:
        """The steps of the runs under way."""
        for name, (begun, step) in steps.items():
            self.work.stepped(name, begun, step)

    def ended(self, name: str, text: str) -> None:
        """A run has ended; ``text`` says how."""
        self.work.ended(name)
        self.count += 1

    def note(self, message: str) -> None:
        """Something the user should read."""


class Lines(Quiet):
    """One line for each run that ends, for logs and pipes."""

    def __init__(
        self, console: Console, work: Workload, *, total: int, ended: int, name: str = ""
    ) -> None:
        super().__init__(work, total=total, ended=ended, name=name)
        self._console = console

    def __enter__(self) -> Self:
        before = f", {self.count} of them ended before" if self.count else ""
        runs = "1 run" if self.total == 1 else f"{self.total} runs"
        self.note(f"{self.heading}{runs}{before}")
        return self

    def ended(self, name: str, text: str) -> None:
        """Write the run's line."""
        super().ended(name, text)
        left = duration(self.work.seconds_left())
        self.note(f"{self.count}/{self.total}  {name}: {text}  ({left} left)")

    def note(self, message: str) -> None:
        """Write a line."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)


class Bars(Lines):
    """The same lines above a bar of all work and a spinner for each run under way."""

    def __init__(
        self, console: Console, work: Workload, *, total: int, ended: int, name: str = ""
    ) -> None:
        super().__init__(console, work, total=total, ended=ended, name=name)
        self._all = Progress(
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:.0f} %  {task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left: {task.fields[left]}"),
        )
        self._each = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._live = Live(Group(self._all, self._each), console=console)
        self._task = self._all.add_task("", total=1.0, left="?")
        self._running: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._live.start()
        super().__enter__()
        self._move()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, name: str) -> None:
        """Show a spinner for the run."""
        if name not in self._running:
            total = self.work.steps_of(name)
            self._running[name] = self._each.add_task(name, total=total)

    def stepped(self, steps: Steps) -> None:
        """Move the bar and the counts of steps."""
        super().stepped(steps)
        for name, (_, step) in steps.items():
            self._each.update(self._running[name], completed=step)
        self._move()

    def ended(self, name: str, text: str) -> None:
        """Move the bar and write the run's line."""
        if name in self._running:
            self._each.remove_task(self._running.pop(name))
        super().ended(name, text)
        self._move()

    def _move(self) -> None:
        left = duration(self.work.seconds_left())
        runs = f"{self.heading}{self.count}/{self.total} runs"
        self._all.update(self._task, completed=self.work.share, description=runs, left=left)


def display(wanted: bool, work: Workload, *, total: int, ended: int, name: str = "") -> Quiet:
    """The display that fits: none, live on a terminal, or lines; ``name`` of the sweep, if any."""
    if not wanted:
        return Quiet(work, total=total, ended=ended)
    console = Console(stderr=True)
    kind = Bars if console.is_terminal else Lines
    return kind(console, work, total=total, ended=ended, name=name)


def outcome(result: Result) -> str:
    """How a run ended, for its line."""
    failed = "  FAILED" if result.failed else ""
    return (
        f"accuracy {result.test_accuracy:.1%}, zeros {result.sparsity_mean:.1%}, "
        f"{result.seconds:.0f} s{failed}"
    )


def duration(seconds: float) -> str:
    """A time in the two largest units that matter.

    >>> duration(42.4), duration(123), duration(7380)
    ('42 s', '2 min 3 s', '2 h 3 min')
    """
    if not math.isfinite(seconds):
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
