"""Worker processes that end, with a checkpoint saved, when the process that started them ends."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing.connection import Connection


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
