"""reproduce(): one name in; runs, a record, and a page with its figure out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsefield.errors import InvalidInput, SparsefieldError, require
from sparsefield.pictures.saving import save_figure
from sparsefield.studies.claim import check_claim, claim
from sparsefield.studies.page import page
from sparsefield.studies.reading import Reading, read
from sparsefield.studies.record import RECORD, Record, write_record
from sparsefield.studies.recording import made_record
from sparsefield.studies.study import Scale, Study
from sparsefield.studies.study import study as of_catalogue
from sparsefield.sweep import Estimate, check, dry_run, read_grid, sweep
from sparsefield.sweep.running import WorkersName
from sparsefield.train.atomic import write_bytes


@dataclass(frozen=True)
class Reproduced:
    """A study that was made: its directory, its record and what that says, and their files."""

    directory: Path
    record: Record
    reading: Reading
    record_path: Path
    page_path: Path
    figure_path: Path

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        findings = [
            {"sentence": finding.sentence, **_numbers(asdict(finding.interval))}
            for finding in self.reading.findings
        ]
        return {
            "study": self.record.study,
            "scale": self.record.scale,
            "data": list(dict.fromkeys(row.config["data"] for row in self.record.rows)),
            "directory": str(self.directory),
            "record": str(self.record_path),
            "page": str(self.page_path),
            "figure": str(self.figure_path),
            "findings": findings,
            "tables": [asdict(table) for table in self.reading.tables],
        }


def reproduce(
    name: str | Study,
    *,
    scale: Scale = "small",
    data: str | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    workers: WorkersName = "local",
    address: str | None = None,
    retry_failed: bool = False,
    progress: bool = True,
) -> Reproduced:
    """Make every run of a study, its record, and the page and figure that it says.

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
        ``record.json``, ``NAME.md``, ``NAME.svg``; by default ``studies/NAME-SCALE``.
    jobs, workers, address, retry_failed
        how the runs of each part are made, as in :func:`sparsefield.sweep.sweep`.
    progress
        show progress on stderr.

    Raises
    ------
    InvalidInput
        An unknown study; a directory of another study or scale, or of other data; what
        :func:`sparsefield.sweep.sweep` raises.
    MissingExtra
        Pyarrow, matplotlib or ray is not installed.
    """
    study, parts, directory = _asked(name, scale, data, out)
    for module, extra in (("pyarrow", "train"), ("matplotlib", "report")):
        require(module, extra)
    how: dict[str, Any] = {
        "jobs": jobs,
        "workers": workers,
        "address": address,
    }
    for part, content in parts.items():
        check(content, out=directory / part, **how)
    claim(directory, study.name, scale)
    for number, (part, content) in enumerate(parts.items(), 1):
        sweep(
            content,
            out=directory / part,
            **how,
            retry_failed=retry_failed,
            progress=progress,
            name=f"part {part}, {number} of {len(parts)}",
        )
    return written(made_record(study, scale, parts, directory, progress=progress), directory)


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
    found = [dry_run(content, out=directory / part, jobs=jobs) for part, content in parts.items()]
    return Estimate(
        runs=sum(one.runs for one in found),
        ended=sum(one.ended for one in found),
        steps=sum(one.steps for one in found),
        jobs=max(one.jobs for one in found),
        seconds=math.fsum(one.seconds for one in found),
        wall_seconds=math.fsum(one.wall_seconds for one in found),
        disk=sum(one.disk for one in found),
        kinds=tuple(kind for one in found for kind in one.kinds),
    )


def written(record: Record, directory: Path) -> Reproduced:
    """Write a record, its page and its figure into ``directory``."""
    reading, name = read(record), record.study
    paths = directory / RECORD, directory / f"{name}.md", directory / f"{name}.svg"
    write_record(paths[0], record)
    write_bytes(paths[1], page([(record, reading)], {record.scale: paths[2].name}).encode())
    save_figure(reading.draw(), paths[2])
    return Reproduced(directory, record, reading, *paths)


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
    check_claim(directory, study.name, scale)
    return study, parts, directory


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: null."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }
