"""What lies between the steps of a run or a group: its checkpoints, and its end."""

from __future__ import annotations

import time
from typing import Protocol, TypeVar

from sparsefield.train.interrupt import Interruption
from sparsefield.train.progress import Silent

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Work(Protocol[T_co]):
    """A run, or a group of them."""

    @property
    def step(self) -> int: ...
    def loop(self, shown: Silent, interruption: Interruption) -> bool: ...
    def save(self) -> None: ...
    def finish(self) -> T_co: ...


def made(work: Work[T], shown: Silent) -> T:
    """The result, after all steps; a signal that came meanwhile acts as soon as all is saved."""
    with Interruption() as interruption:
        with shown:
            ended = work.loop(shown, interruption)
        result = work.finish() if ended else None
        if result is None or interruption.received is not None:
            interruption.deliver()
    return result


class Checkpoints:
    """Saves one every so many seconds, and one when an interruption ends the work."""

    def __init__(
        self, work: Work[object], shown: Silent, interruption: Interruption, every: float
    ) -> None:
        self._work, self._shown, self._interruption = work, shown, interruption
        self._every, self._saved = every, time.monotonic()

    def interrupted(self) -> bool:
        """Whether the work is to end here; asked after every step."""
        if self._interruption.received is not None:
            self._work.save()
            step = self._work.step
            self._shown.note(f"interrupted after step {step}; resume goes on from there")
            return True
        if time.monotonic() - self._saved >= self._every:
            self._work.save()
            self._saved = time.monotonic()
        return False
