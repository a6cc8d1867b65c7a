"""What an engine is: something that makes runs and tells how each of them ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sparsefield.sweep.failure import Failure
from sparsefield.sweep.plan import Planned

RETRIES = 1  # of a run whose process was killed
POLL = 0.25  # seconds between looks at the runs under way

Steps = Mapping[str, tuple[int, int]]  # by name: the step this making began at, the step it is at


class Listener(Protocol):
    """Hears of every run that an engine makes."""

    def started(self, run: Planned) -> None:
        """The run is being made."""

    def stepped(self, steps: Steps) -> None:
        """The steps of the runs under way."""

    def ended(self, run: Planned, failure: Failure | None) -> None:
        """The run has its result in its directory, or failed."""

    def note(self, message: str) -> None:
        """Something the user should read."""


Engine = Callable[[Sequence[Planned], Path, Listener], None]


def killed(run: Planned, attempts: int) -> Failure:
    """The failure of a run whose process was killed every time."""
    return Failure(
        f"the process that made {run.name} was killed, for want of memory perhaps; "
        "try again with fewer jobs",
        "killed",
        attempts,
    )
