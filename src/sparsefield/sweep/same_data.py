"""The data of a sweep that has begun stay what they were, by content, whatever their name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sparsefield.data import Content
from sparsefield.errors import InvalidInput
from sparsefield.sweep.plan import Planned
from sparsefield.train.record import RESULT, read_result

_ABBREVIATED = 12  # digits of a digest


@dataclass(frozen=True)
class Begun:
    """A run of a sweep that has begun: the name of its data then, digests by name, its place."""

    run: Planned
    data: str
    digests: Mapping[str, str]
    place: Path

    @property
    def digest(self) -> str | None:
        """Of the data it was made or begun on, by its result before the plan; None: unknown."""
        if (self.place / RESULT).exists():
            return read_result(self.place).data_digest
        return self.digests.get(self.data)


def check_data(directory: Path, begun: Iterable[Begun], data: Mapping[str, Content]) -> None:
    """Every run that has begun would find the data that it was begun with.

    Raises
    ------
    InvalidInput
        One would not, and the others would be made on data of another content; a damaged result.
    """
    for one in begun:
        before, now = one.digest, data[one.run.config.data].digest
        if before not in (None, now):
            raise InvalidInput(
                f"{directory}: run {one.run.name} is on data {one.data} (SHA-256 "
                f"{str(before)[:_ABBREVIATED]}…), and data {one.run.config.data} is "
                f"{now[:_ABBREVIATED]}… here; the runs of a sweep stay on the data that they were "
                f"begun with: {_remedy(one)}, or give another directory"
            )


def _remedy(one: Begun) -> str:
    if one.data == one.run.config.data:
        return "bring those back"
    return f"give data {one.data} again"
