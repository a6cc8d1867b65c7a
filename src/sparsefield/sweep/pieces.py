"""pieces.json: which runs of a sweep train together, settled before any of them begins."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.sweep.cutting import cut
from sparsefield.sweep.folder import place, recorded
from sparsefield.sweep.plan import Plan, Planned
from sparsefield.train import begun_together
from sparsefield.train.atomic import write_bytes
from sparsefield.train.group import CHECKPOINT as GROUP
from sparsefield.train.record import CHECKPOINT, RESULT

PIECES = "pieces.json"


@dataclass(frozen=True)
class Piece:
    """Runs that train together, or one by one; None: not measured yet, so none has begun."""

    runs: tuple[Planned, ...]
    together: bool | None


class Pieces:
    """The pieces of a sweep as recorded in its directory; without one they are only held.

    What has been decided stays so, for then a resumed sweep ends as one that was not cut off.
    """

    def __init__(self, pieces: Sequence[Piece], directory: Path | None = None) -> None:
        self.pieces, self._directory = list(pieces), directory

    def decide(self, first: Collection[str], *, together: bool) -> None:
        """Record, before they train, how the pieces whose first runs have these names do."""
        self.pieces = [
            replace(piece, together=together) if piece.runs[0].name in first else piece
            for piece in self.pieces
        ]
        self.write()

    def grouped(self, left: Sequence[Planned]) -> list[Planned]:
        """Those of ``left`` that train together, or may."""
        apart = {run.name for piece in self.pieces if piece.together is False for run in piece.runs}
        return [run for run in left if run.name not in apart]

    def write(self) -> None:
        """Write ``pieces.json``, a line a piece."""
        if self._directory is None:
            return
        lines = [json.dumps(_content(piece)) for piece in self.pieces]
        text = '{"pieces": [\n' + ",\n".join(lines) + "\n]}\n"
        write_bytes(self._directory / PIECES, text.encode())


def settle(
    directory: Path,
    plan: Plan,
    left: Sequence[Planned],
    *,
    work: Callable[[Planned], float],
    jobs: int,
    together: bool,
) -> Pieces:
    """The pieces that the directory holds, and new ones for the runs in ``left`` that are in none.

    Runs that were begun alone stay alone. Without ``together`` so do all that are not decided yet.
    Nothing is written.

    Raises
    ------
    InvalidInput
        The file is damaged.
    """
    held = read_pieces(directory, plan)
    known = {run.name for piece in held for run in piece.runs}
    new = [run for run in left if run.name not in known]
    begun = [not together or (place(directory, run) / CHECKPOINT).exists() for run in new]
    alone = list(compress(new, begun))
    free = [run for run, own in zip(new, begun, strict=True) if not own]
    pieces = [Piece(runs, None) for runs in cut(free, alone=alone, work=work, jobs=jobs)]
    return Pieces([_settled(piece, together) for piece in (*held, *pieces)], directory)


def read_pieces(directory: Path, plan: Plan) -> list[Piece]:
    """The pieces that the directory holds, none where there is no file.

    Raises
    ------
    InvalidInput
        The file is damaged.
    """
    path = directory / PIECES
    if not path.exists():
        return []
    runs = {run.name: run for run in plan.runs}
    return recorded(path, lambda content: [_piece(piece, runs) for piece in content["pieces"]])


def remove_groups(directory: Path, pieces: Pieces) -> None:
    """Remove what a group leaves that is killed between its last result and its end."""
    for piece in pieces.pieces:
        outs = [place(directory, run) for run in piece.runs] if piece.together else []
        if begun_together(outs[:1]) and all((out / RESULT).exists() for out in outs):
            (outs[0] / GROUP).unlink()


def _settled(piece: Piece, together: bool) -> Piece:
    if piece.together is None and (not together or len(piece.runs) == 1):
        return replace(piece, together=False)
    return piece


def _content(piece: Piece) -> dict[str, Any]:
    return {"runs": [run.name for run in piece.runs], "together": piece.together}


def _piece(content: Mapping[str, Any], runs: Mapping[str, Planned]) -> Piece:
    if content["together"] not in (True, False, None):
        raise ValueError(content["together"])
    if missing := [name for name in content["runs"] if name not in runs]:
        raise InvalidInput(f"{PIECES}: names run {missing[0]}, which is not in the sweep file")
    return Piece(tuple(runs[name] for name in content["runs"]), content["together"])
