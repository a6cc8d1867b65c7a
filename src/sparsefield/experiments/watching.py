"""Live progress of many runs, on stderr."""

from __future__ import annotations

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
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from sparsefield.train import Result


class Watch:
    """Shows nothing; what the other displays are made from."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, *, total: int, finished: int) -> None:
        """So many runs in all, so many of them finished before."""

    def started(self, label: str, seed: int) -> None:
        """A run has started."""

    def finished(self, label: str, seed: int, result: Result) -> None:
        """A run has ended."""


class LineWatch(Watch):
    """One line for each run that ends, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console, self._total, self._done = console, 0, 0

    def begin(self, *, total: int, finished: int) -> None:
        """Say what is left to do."""
        self._total, self._done = total, finished
        already = f", {finished} of them finished before" if finished else ""
        self._write(f"{total} runs{already}")

    def finished(self, label: str, seed: int, result: Result) -> None:
        """Write the run's line."""
        self._done += 1
        self._write(f"{self._done}/{self._total}  {_line(label, seed, result)}")

    def _write(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveWatch(LineWatch):
    """The same lines above a live bar over all runs and a spinner for each that is being made."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._all = Progress(
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
        )
        self._each = Progress(
            SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
        )
        self._live = Live(Group(self._all, self._each), console=console)
        self._task = TaskID(0)
        self._running: dict[tuple[str, int], TaskID] = {}

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def begin(self, *, total: int, finished: int) -> None:
        """Show the bar."""
        super().begin(total=total, finished=finished)
        self._task = self._all.add_task("", total=total, completed=finished)

    def started(self, label: str, seed: int) -> None:
        """Show a spinner for the run."""
        self._running[label, seed] = self._each.add_task(f"{label}, seed {seed}", total=None)

    def finished(self, label: str, seed: int, result: Result) -> None:
        """Move the bar and write the run's line."""
        self._each.remove_task(self._running.pop((label, seed)))
        super().finished(label, seed, result)
        self._all.advance(self._task)


def watching(wanted: bool) -> Watch:
    """The display that fits: none, live on a terminal, or lines."""
    if not wanted:
        return Watch()
    console = Console(stderr=True)
    return LiveWatch(console) if console.is_terminal else LineWatch(console)


def _line(label: str, seed: int, result: Result) -> str:
    failed = "  FAILED" if result.failed else ""
    return (
        f"{label}, seed {seed}: accuracy {result.test_accuracy:.1%}, zeros "
        f"{result.sparsity_mean:.1%}, {result.seconds:.0f} s{failed}"
    )
