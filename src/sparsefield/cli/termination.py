"""SIGTERM as an exception, as Ctrl-C is one: what is held is let go, workers save and end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

EXIT_CODE = 128 + signal.SIGTERM


class Terminated(BaseException):
    """The process was asked to end; no Exception, which a run that raises is recorded by."""


@contextmanager
def termination_raised() -> Iterator[None]:
    """Raise :class:`Terminated` on the first SIGTERM within the block; later ones do nothing.

    ``timeout`` sends two, one to the process and one to its group; workers are then being ended.
    Where SIGTERM is ignored, or handled by the caller, that stays so; as it does outside the main
    thread, where Python allows no handlers.
    """
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise Terminated
