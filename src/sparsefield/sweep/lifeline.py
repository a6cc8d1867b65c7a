"""Signals: workers end, with a checkpoint saved, when the process that started them ends.

Imported by the server that forks the workers, too. That is started with SIGINT and SIGTERM blocked,
as they may come to the whole group, and could not say when its workers end if it ended with them;
its children, which inherit that, let them through again.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

ENDING = frozenset({signal.SIGINT, signal.SIGTERM})


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put signals off for a moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def live_with_parent(reader: Connection) -> None:
    """Leave Ctrl-C to the parent, and end as on termination when the parent's pipe closes.

    ``reader`` is the reading end of a pipe whose only writing end the parent holds: it closes
    when the parent says so, or dies.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(reader,), daemon=True).start()


def _end_with_parent(reader: Connection) -> None:
    try:
        reader.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


if signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= ENDING:  # nowhere but in the server
    os.register_at_fork(after_in_child=_let_through)
