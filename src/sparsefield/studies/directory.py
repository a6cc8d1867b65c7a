"""study.json: the one study, at one scale, that a directory is for."""

from __future__ import annotations

import json
from pathlib import Path

from sparsefield.errors import InvalidInput
from sparsefield.studies.record import RECORD, read_record
from sparsefield.sweep.folder import make_directory
from sparsefield.train.atomic import write_bytes

HELD = "study.json"


def check_held(directory: Path, study: str, scale: str) -> None:
    """InvalidInput where it holds another, whose record and page would be written over."""
    there, its_scale = _held(directory) or (study, scale)
    if (there, its_scale) != (study, scale):
        raise InvalidInput(
            f"{directory}: holds study {there} at scale {its_scale}, not {study} at scale {scale}; "
            "a directory is for one study at one scale: give another one"
        )


def hold(directory: Path, study: str, scale: str) -> None:
    """Write down that the directory is this study's at this scale; make it if it is not there."""
    make_directory(directory)
    write_bytes(directory / HELD, f"{json.dumps({'study': study, 'scale': scale})}\n".encode())


def _held(directory: Path) -> tuple[str, str] | None:
    path, old = directory / HELD, directory / RECORD
    if not path.exists():  # as before there was one: then the record says
        return (read_record(old).study, read_record(old).scale) if old.exists() else None
    try:
        content = json.loads(path.read_bytes())
        return str(content["study"]), str(content["scale"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path}: is damaged ({type(error).__name__}); bring it back, or give another directory"
        ) from None
