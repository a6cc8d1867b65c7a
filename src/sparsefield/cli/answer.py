"""What a command that draws says: text and a picture, or one JSON object."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Result(Protocol):
    """What ``str`` makes a table of."""

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""


def show(
    result: Result, picture: Path | None, draw: Callable[[], Figure], *, label: str, json: bool
) -> None:
    """Print ``result``, save ``draw()`` as ``picture`` if there is one, and say where it is."""
    from sparsefield.pictures.saving import save_figure

    if not json:
        print(result)
    if picture:
        save_figure(draw(), picture)
    where = None if picture is None else str(picture)
    answer = jsonlib.dumps({**result.to_dict(), "picture": where}, allow_nan=False) if json else ""
    print(answer or f"{label}{where}")
