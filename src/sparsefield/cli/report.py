"""``sparsefield report``: pages made of runs, or of the records of studies."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import tyro

from sparsefield.errors import InvalidInput


def report(
    directory: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    docs: Path | None = None,
    check: bool = False,
    json: bool = False,
) -> None:
    """Write the HTML report of a run directory, or of a folder of them.

    With --docs, write the pages and figures of the study records in DIRECTORY/records instead.

    Parameters
    ----------
    directory
        a run directory, or a folder of run directories; with --docs a folder with records/
    out
        the page, by default report.html in DIRECTORY; ending in svg, png or pdf its first figure
    docs
        folder of the documentation: results/ and figures/ in it are made from the records
    check
        with --docs: write nothing; a line for each file that differs, and exit 1 if any does
    json
        print one JSON object and nothing else
    """
    if docs is not None:
        _documentation(directory, docs, check=check, json=json)
        return
    if check:
        raise InvalidInput(
            "--check: compares documentation with records; name its folder in --docs"
        )
    from sparsefield.pictures import report

    path = report(directory, out)
    print(jsonlib.dumps({"report": str(path)}) if json else f"report: {path}")


def _documentation(directory: Path, docs: Path, *, check: bool, json: bool) -> None:
    from sparsefield.pictures.publish import differences, publish

    if not check:
        written = [str(path) for path in publish(directory, docs)]
        print(jsonlib.dumps({"written": written}) if json else _lines(written))
        return
    found = differences(directory, docs)
    print(jsonlib.dumps({"differences": found}) if json else _lines(found))
    if found:
        raise SystemExit(1)


def _lines(found: list[str]) -> str:
    return "\n".join(found) or "the documentation says what the records say"
