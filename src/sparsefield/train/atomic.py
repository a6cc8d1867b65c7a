"""Files that are either whole or not there, and one writer to a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsefield.errors import InvalidInput

_ASIDE, LOCK = ".part", ".lock"


class Held(InvalidInput):
    """Another process holds the directory."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write aside in the same directory, force it to the disk, then rename over ``path``.

    Raises
    ------
    InvalidInput
        The disk is full or the directory cannot be written; ``path`` is as it was.
    """
    aside = path.with_name(f".{path.name}{_ASIDE}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be written ({error.strerror}); free some space or give another "
            "directory; a run goes on from its last checkpoint with resume"
        ) from None
    finally:
        aside.unlink(missing_ok=True)
    _sync_directory(path.parent)


def remove_parts(directory: Path) -> None:
    """Remove what a killed writer left aside."""
    for left in directory.glob(f".*{_ASIDE}"):
        left.unlink(missing_ok=True)


@contextmanager
def exclusive(directory: Path, held: str = "another process trains there") -> Iterator[None]:
    """Create ``directory`` and hold it for this process; the system lets go when a process dies.

    ``held`` is what to say where another process holds it.

    Raises
    ------
    InvalidInput
        The path is a file, cannot be created, written or locked, or another process holds it.
    """
    from filelock import FileLock, Timeout

    # A file system without locks is refused: what filelock has in place of them outlives a process.
    lock = FileLock(directory / LOCK, fallback_to_soft=False)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except (FileExistsError, NotADirectoryError):
        raise InvalidInput(f"{directory}: is a file; give the path of a run directory") from None
    except Timeout:
        raise Held(f"{directory}: {held}; wait for it, or give another directory") from None
    except OSError as error:
        raise InvalidInput(
            f"{directory}: cannot be created or locked ({error.strerror}); give a directory you "
            "may write to, on a file system with locks"
        ) from None
    try:
        yield
    finally:
        (directory / LOCK).unlink(missing_ok=True)  # while it is held, so that it is nobody else's
        lock.release()


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
