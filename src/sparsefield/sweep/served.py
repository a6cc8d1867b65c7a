"""Imported by the server that forks workers: signals put off for it are not for its children.

It is started with SIGINT and SIGTERM blocked, as they may come to the whole group. All processes
of the one server inherit that, also those that are no workers of a sweep.
"""

from __future__ import annotations

import os
import signal

ENDING = frozenset({signal.SIGINT, signal.SIGTERM})


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


# So nowhere but in the server.
if hasattr(signal, "pthread_sigmask") and signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= ENDING:
    os.register_at_fork(after_in_child=_let_through)
