"""study.json: the one study, at one scale, that a directory is for."""

from __future__ import annotations

import json
from pathlib import Path

from sparsefield.errors import InvalidInput
from sparsefield.studies.record import RECORD, read_record
from sparsefield.sweep.folder import make_directory
from sparsefield.train.atomic import write_bytes

CLAIM = "study.json"


def check_claim(directory: Path, study: str, scale: str) -> None:
    """The directory holds this study at this scale, or none.

    Raises
    ------
    InvalidInput
        It holds another, whose record and page would be written over, or a damaged one.
    """
    held = _held(directory)
    if held not in (None, (study, scale)):
        there, its_scale = held
        raise InvalidInput(
            f"{directory}: holds study {there} at scale {its_scale}, not {study} at scale {scale}; "
            "a directory is for one study at one scale: give another one"
        )


def claim(directory: Path, study: str, scale: str) -> None:
    """Write down that the directory is this study's at this scale.

    Raises
    ------
    InvalidInput
        The directory cannot be made, or written.
    """
    make_directory(directory)
    write_bytes(directory / CLAIM, f"{json.dumps({'study': study, 'scale': scale})}\n".encode())


def _held(directory: Path) -> tuple[str, str] | None:
    path = directory / CLAIM
    if path.exists():
        return _read(path)
    if (directory / RECORD).exists():  # made before there were claims
        record = read_record(directory / RECORD)
        return record.study, record.scale
    return None


def _read(path: Path) -> tuple[str, str]:
    try:
        content = json.loads(path.read_bytes())
        return str(content["study"]), str(content["scale"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path}: is damaged ({type(error).__name__}); bring it back, or give another directory"
        ) from None
