"""Live progress of many runs on stderr, with the time that is left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sparsefield.sweep.workers import Steps


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

    ``loads`` are those of the runs of the sweep, by name; ``waiting`` names those that have not
    ended yet; ``clock`` tells seconds.
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
        self._loads, self._clock, self._began = loads, clock, clock()
        self._heading = f"{name}: " if name else ""
        # By name: the step at which this call found the run, and the step it is at.
        self._at = {run: (load.steps,) * 2 for run, load in loads.items() if run not in waiting}
        self._ended = len(self._at)
        self.bars = Progress(
            BarColumn(bar_width=30),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=console.quiet or not console.is_terminal,
        )
        self._all = self.bars.add_task("", total=sum(load.total for load in loads.values()))
        self._each: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self.bars.start()
        count = len(self._loads)
        before = f", {self._ended} of them ended before" if self._ended else ""
        self.note(f"{self._heading}{'1 run' if count == 1 else f'{count} runs'}{before}")
        self.stepped({})
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def seconds_left(self) -> float:
        """At the pace of this call, runs weighed; infinite while there is none."""
        made = self._work(lambda found, step: step - found)
        left = sum(load.total for load in self._loads.values()) - self._done
        return left / made * (self._clock() - self._began) if made else math.inf

    def started(self, name: str) -> None:
        """Show a bar for the run."""
        if name not in self._each:
            self._each[name] = self.bars.add_task(name, total=self._loads[name].steps)

    def stepped(self, steps: Steps) -> None:
        """Move the bars."""
        self._at |= steps
        for name, (_, step) in steps.items():
            self.bars.update(self._each[name], completed=step)
        left = f"left: {duration(self.seconds_left())}"
        told = f"{self._heading}{self._ended}/{len(self._loads)} runs  {left}"
        self.bars.update(self._all, completed=self._done, description=told)

    def ended(self, name: str, text: str) -> None:
        """Write the run's line; ``text`` says how it ended."""
        self._at[name] = self._at.get(name, (0, 0))[0], self._loads[name].steps
        self.bars.remove_task(self._each.pop(name))
        self._ended += 1
        left = duration(self.seconds_left())
        self.note(f"{self._ended}/{len(self._loads)}  {name}: {text}  ({left} left)")
        self.stepped({})

    def note(self, message: str) -> None:
        """Write a line."""
        self.bars.console.print(message, markup=False, highlight=False, soft_wrap=True)

    @property
    def _done(self) -> int:
        return self._work(lambda _, step: step)

    def _work(self, steps: Callable[[int, int], int]) -> int:
        return sum(self._loads[run].weight * steps(*at) for run, at in self._at.items())


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
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
