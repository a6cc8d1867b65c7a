"""reproduce(): one name in; runs, a record and a page out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Literal

from sparsefield.errors import InvalidInput, SparsefieldError, require
from sparsefield.studies.directory import check_held, hold
from sparsefield.studies.effects import Effect, effects
from sparsefield.studies.page import page, with_warning
from sparsefield.studies.record import RECORD, Record, write_record
from sparsefield.studies.recording import made_record
from sparsefield.studies.study import Scale, Study
from sparsefield.studies.study import study as of_catalogue
from sparsefield.sweep import Estimate, check, dry_run, read_grid, sweep
from sparsefield.train.atomic import write_bytes


@dataclass(frozen=True)
class Reproduced:
    """A study that was made: where, its record, and what that says.

    ``unborne``: the claims of the study's page that this record does not bear out, a line each.
    """

    study: Study
    directory: Path
    record: Record
    effects: tuple[Effect, ...]
    unborne: tuple[str, ...]

    @property
    def paths(self) -> dict[str, Path]:
        """The page, the figure that it shows, which is drawn elsewhere, and the record."""
        names = {"page": f"{self.study.name}.md", "figure": f"{self.study.name}.svg"}
        return {key: self.directory / name for key, name in (names | {"record": RECORD}).items()}

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "study": self.study.name,
            "scale": self.record.scale,
            "data": list(dict.fromkeys(row["data"] for row in self.record.rows)),
            "directory": str(self.directory),
            **{key: str(path) for key, path in self.paths.items()},
            "effects": [one.to_dict() for one in self.effects],
            "not_borne_out": list(self.unborne),
        }


def reproduce(
    name: str | Study,
    *,
    scale: Scale = "small",
    data: str | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    workers: Literal["local", "ray"] = "local",
    address: str | None = None,
    retry_failed: bool = False,
    progress: bool = True,
) -> Reproduced:
    """Make every run of a study, its record, and its page.

    The same call again goes on where it was, as any sweep; a finished study is only read anew.
    What can be refused is refused before any run of any part is made.

    Parameters
    ----------
    name
        of a study of the catalogue, or a study.
    scale
        small: minutes to an hour on two cores; paper: the sizes of the source.
    data
        in place of the study's own; auto: MNIST (for a CNN CIFAR-10) where it is at hand without
        a network, else the embedded digits. A study that has begun stays on its data.
    out
        directory, for one study at one scale: ``study.json``, a sweep for each part,
        ``record.json``, ``NAME.md``; by default ``studies/NAME-SCALE``.
    jobs, workers, address, retry_failed, progress
        how the runs of each part are made, as in :func:`sparsefield.sweep.sweep`.

    Raises
    ------
    InvalidInput
        An unknown study; a directory of another study or scale, or of other data; what
        :func:`sparsefield.sweep.sweep` raises.
    MissingExtra
        Pyarrow or ray is not installed.
    """
    study, parts, directory = _asked(name, scale, data, out)
    require("pyarrow", "train")
    how: dict[str, Any] = {"jobs": jobs, "workers": workers, "address": address}
    for part, content in parts.items():
        check(content, out=directory / part, **how)
    hold(directory, study.name, scale)
    how |= {"retry_failed": retry_failed, "progress": progress}
    for number, (part, content) in enumerate(parts.items(), 1):
        told = f"part {part}, {number} of {len(parts)}"
        sweep(content, out=directory / part, **how, name=told)
    return written(study, made_record(study, scale, parts, directory, progress=progress), directory)


def estimated(
    name: str | Study,
    *,
    scale: Scale = "small",
    data: str | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
) -> Estimate:
    """What :func:`reproduce` would cost from here on, all parts together; nothing is written."""
    _, parts, directory = _asked(name, scale, data, out)
    found = [dry_run(one, out=directory / part, jobs=jobs) for part, one in parts.items()]
    every = [field.name for field in fields(Estimate)]
    total = {name: reduce(add, (getattr(one, name) for one in found)) for name in every}
    return replace(found[0], **total | {"jobs": max(one.jobs for one in found)})


def written(study: Study, record: Record, directory: Path) -> Reproduced:
    """Write a record and its page into ``directory``."""
    told = page(study, record, f"{study.name}.svg")
    made = Reproduced(
        study, directory, record, tuple(effects(study, record).values()), told.unborne
    )
    write_record(made.paths["record"], record)
    write_bytes(made.paths["page"], with_warning(told).encode())
    return made


def _asked(
    name: str | Study, scale: Scale, data: str | None, out: str | Path | None
) -> tuple[Study, Mapping[str, Mapping[str, Any]], Path]:
    """The study, its parts, each a sweep that can be made, and the directory, which is its own."""
    study = name if isinstance(name, Study) else of_catalogue(name)
    parts = study.parts(scale, data)
    for part, content in parts.items():
        try:
            read_grid(content)
        except SparsefieldError as error:
            raise InvalidInput(f"study {study.name}, part {part}: {error}") from None
    directory = Path(out or Path("studies") / f"{study.name}-{scale}")
    check_held(directory, study.name, scale)
    return study, parts, directory
