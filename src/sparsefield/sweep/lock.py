"""One sweep at a time in a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsefield.errors import InvalidInput

LOCK = ".lock"


@contextmanager
def only_sweep(directory: Path) -> Iterator[None]:
    """Hold ``directory``, which exists, for this process; its id stands in the lock file.

    The lock is the system's, so a killed sweep holds nothing, whatever its file says. On a file
    system without locks the process id decides.

    Raises
    ------
    InvalidInput
        Another sweep works there.
    """
    handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(handle, directory)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _take(handle: int, directory: Path) -> None:
    holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _busy(directory, holder) from None
    except (ImportError, OSError):
        if _alive(holder):
            raise _busy(directory, holder) from None


def _alive(holder: str) -> bool:
    if not holder.isdecimal() or int(holder) == os.getpid():
        return False
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return False
    except OSError:  # there, and another user's
        return True
    return True


def _busy(directory: Path, holder: str) -> InvalidInput:
    return InvalidInput(
        f"{directory}: another sweep works there (process {holder or 'unknown'}); wait for it, or "
        "give another directory"
    )
