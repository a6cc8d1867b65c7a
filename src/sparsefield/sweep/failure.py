"""failed.json: why a run has no result."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sparsefield.errors import InvalidInput
from sparsefield.train.atomic import write_bytes

FAILED = "failed.json"


@dataclass(frozen=True)
class Failure:
    """One line on what a run raised, or on what ended its process; how often it was tried."""

    reason: str
    kind: Literal["raised", "killed"]
    attempts: int = 1


def killed(name: str) -> Failure:
    """The failure of a run whose process was killed."""
    why = "was killed, for want of memory perhaps; try again with fewer jobs"
    return Failure(f"the process that made {name} {why}", "killed")


def raised(error: Exception, directory: Path) -> Failure:
    """The failure of a run that raised, in one line and without the place of the sweep."""
    text = " ".join(str(error).split()) or type(error).__name__
    kind = "" if isinstance(error, InvalidInput) else f"{type(error).__name__}: "
    return Failure(f"{kind}{text}".replace(str(directory), directory.name), "raised")


def write_failure(directory: Path, failure: Failure) -> None:
    """Record why the run of ``directory`` has no result."""
    directory.mkdir(parents=True, exist_ok=True)
    write_bytes(directory / FAILED, f"{json.dumps(asdict(failure), indent=2)}\n".encode())


def read_failure(directory: Path) -> Failure | None:
    """Why the run of ``directory`` has no result, or None where nothing is recorded."""
    path = directory / FAILED
    if not path.exists():
        return None
    try:
        return Failure(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        problem = f"{path}: is damaged ({error}); delete it to try the run again"
        raise InvalidInput(problem) from None
