"""Ctrl-C and termination as a request that the loop answers between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, NoReturn, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Holds SIGINT and SIGTERM back while a step runs; the handlers of before come back at exit.

    A second Ctrl-C acts at once. A second SIGTERM does not: one comes to the whole group, from
    ``timeout`` or a scheduler, and another from the sweep that a worker belongs to; those who
    cannot wait send SIGKILL. Outside the main thread, where Python allows no handlers, this does
    nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._hold(number)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def deliver(self) -> NoReturn:
        """Let the signal that was held back do what it would have done; never returns."""
        self._restore()
        if self.received is not None:
            signal.raise_signal(self.received)
        raise KeyboardInterrupt

    def _hold(self, number: int) -> None:
        handler = signal.getsignal(number)
        # None: a handler from outside Python that could not be put back.
        if handler is not None and handler != signal.SIG_IGN:
            self._previous[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore(but=signal.SIGTERM if number == signal.SIGTERM else None)

    def _restore(self, but: int | None = None) -> None:
        for number in [held for held in self._previous if held != but]:
            signal.signal(number, self._previous.pop(number))
