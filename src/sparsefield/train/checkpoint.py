"""The state between two steps, written so that a resumed run ends as the uninterrupted one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from sparsefield.errors import InvalidInput
from sparsefield.train.atomic import write_bytes
from sparsefield.train.config import TrainConfig
from sparsefield.train.configfile import differences

FORMAT = 1
State = dict[str, Any]


def save_checkpoint(path: Path, config: TrainConfig, data_digest: str, state: State) -> None:
    """Write ``state`` (tensors and plain data) with what it belongs to."""
    content = {
        "format": FORMAT,
        "config": config.model_dump(mode="json"),
        "data_digest": data_digest,
        "state": state,
    }
    buffer = io.BytesIO()  # a full disk is then the writer's error, not torch's
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path, config: TrainConfig, data_digest: str) -> State | None:
    """The state to go on from, tensors on the CPU, or None where there is no checkpoint.

    Raises
    ------
    InvalidInput
        Damaged, of another format, of another config, or of other data.
    """
    if not path.exists():
        return None
    content = _read(path)
    held = TrainConfig(**content["config"])
    if names := differences(held, config):
        raise InvalidInput(
            f"{path}: is of another config (it differs in {', '.join(names)}); resume with the "
            "same config, or give another directory"
        )
    if content["data_digest"] != data_digest:
        raise InvalidInput(
            f"{path}: data_digest is {content['data_digest']}, the data at hand have "
            f"{data_digest}; bring the same data back, or run into another directory"
        )
    state: State = content["state"]
    return state


def _read(path: Path) -> dict[str, Any]:
    # torch.load does not verify the check sums that torch.save wrote; zipfile does. What either
    # raises on damaged bytes is anything, so anything counts as damage.
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        content = torch.load(path, map_location="cpu", weights_only=True)
        intact = damaged is None and {"config", "data_digest", "state"} <= set(content)
    except Exception as error:
        raise _damage(path, f"{type(error).__name__}") from error
    if not intact:
        raise _damage(path, f"check sum of {damaged}" if damaged else "parts are missing")
    if content.get("format") != FORMAT:
        raise InvalidInput(
            f"{path}: format={content.get('format')}, this version reads {FORMAT}; delete it and "
            "resume to start the run over"
        )
    return dict(content)


def _damage(path: Path, what: str) -> InvalidInput:
    return InvalidInput(
        f"{path}: is truncated or damaged ({what}); delete it and resume to start the run over"
    )
