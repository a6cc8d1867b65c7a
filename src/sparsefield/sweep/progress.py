"""Live progress of many runs on stderr, with the time that is left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sparsefield.sweep.workers import Steps

if TYPE_CHECKING:
    from sparsefield.train import Result


@dataclass(frozen=True)
class Load:
    """Steps of a run, and how much one weighs beside those of other runs."""

    steps: int
    weight: int

    @property
    def total(self) -> int:
        """Of all its steps."""
        return self.steps * self.weight


class Display:
    """A line for each run that ends and, on a terminal, bars of all work and of each run under way.

    Parameters
    ----------
    loads
        The runs of the sweep, by name: how many steps each has, and how much a step weighs.
    waiting
        Names of those that have not ended yet.
    console
        What to write to.
    name
        What to call the sweep.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        loads: Mapping[str, Load],
        waiting: Collection[str],
        console: Console,
        *,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loads, self._at = loads, dict[str, tuple[int, int]]()
        self.bars = Progress(
            BarColumn(bar_width=30),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=console.quiet or not console.is_terminal,
            speed_estimate_period=1e9,
            get_time=clock,
        )
        self._heading = f"{name}: " if name else ""
        self._ended = len(loads) - len(waiting)
        done = sum(load.total for run, load in loads.items() if run not in waiting)
        total = sum(load.total for load in loads.values())
        self._all = self.bars.add_task("", total=total, completed=done, left="")
        self._each: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self.bars.start()
        count = len(self._loads)
        before = f", {self._ended} of them ended before" if self._ended else ""
        self.note(f"{self._heading}{'1 run' if count == 1 else f'{count} runs'}{before}")
        self._move()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def seconds_left(self) -> float:
        """At the pace of this call; infinite while there is none."""
        left = self.bars.tasks[0].time_remaining
        return math.inf if left is None else left

    def started(self, name: str) -> None:
        """Show a bar for the run."""
        if name not in self._each:
            steps = self._loads[name].steps
            self._each[name] = self.bars.add_task(name, total=steps, left="")

    def stepped(self, steps: Steps) -> None:
        """Move the bars."""
        for name, (begun, step) in steps.items():
            self._step(name, begun, step)
            self.bars.update(self._each[name], completed=step)
        self._move()

    def ended(self, name: str, text: str) -> None:
        """Write the run's line; ``text`` says how it ended."""
        begun, _ = self._at.get(name, (0, 0))
        self._step(name, begun, self._loads[name].steps)
        self.bars.remove_task(self._each.pop(name))
        self._ended += 1
        left = duration(self.seconds_left())
        self.note(f"{self._ended}/{len(self._loads)}  {name}: {text}  ({left} left)")
        self._move()

    def note(self, message: str) -> None:
        """Write a line."""
        self.bars.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def _step(self, name: str, begun: int, step: int) -> None:
        """Steps that a run had before it was started here are done, and no pace of this call."""
        begun_before, step_before = self._at.get(name, (0, 0))
        weight, new = self._loads[name].weight, begun - begun_before
        self.bars.tasks[0].completed += weight * new
        self.bars.advance(self._all, weight * (step - step_before - new))
        self._at[name] = begun, step

    def _move(self) -> None:
        runs = f"{self._heading}{self._ended}/{len(self._loads)} runs"
        left = f"left: {duration(self.seconds_left())}"
        self.bars.update(self._all, description=runs, left=left)


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
