"""The pages of documentation that are made from records, written or compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

from sparsefield.errors import InvalidInput
from sparsefield.pictures.saving import svg_bytes
from sparsefield.pictures.study import draw_study
from sparsefield.studies import Page, Record, borne_out, page, read_record, study
from sparsefield.studies.page import alt, setting
from sparsefield.studies.tables import escaped
from sparsefield.train.atomic import write_bytes

RECORDS = "records"
FOLDER, INTRO, INDEX = "results", "intro.md", "index.md"
FINDINGS = "<!-- findings -->"  # in the introduction, where the studies stand
ORDER = {
    "The five findings": ("qstar-mechanism", "clip-rule", "depth-width", "frontier", "rivals"),
    "Five more": ("dt26-dnn", "dt26-cnn", "p24-dnn", "p24-cnn", "drift"),
}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_ID = re.compile(r"\b[a-z]+[0-9a-f]{10}\b")
_CLOSE = 0.05  # points: what another processor's rounding may move
Published = Mapping[str, tuple[Record, Page]]


def publish(directory: str | Path, docs: str | Path) -> list[Path]:
    """Write what the records of ``directory`` make into ``docs``; the files that changed.

    InvalidInput where a page claims what its record does not bear out; then nothing is written.
    """
    changed = []
    for path, content in _documents(Path(directory), Path(docs)).items():
        if not _same(path, content):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)
            changed.append(path)
    return changed


def differences(directory: str | Path, docs: str | Path) -> list[str]:
    """One line for each file of ``docs`` that is not what the records make; nothing is written."""
    made = _documents(Path(directory), Path(docs))
    found = [_difference(path, content) for path, content in made.items()]
    folder = Path(docs)
    there = [path for path in (folder / FOLDER).glob("*.md") if path.name != INTRO]
    stale = sorted({*there, *(folder / "figures").glob("results-*.svg")} - set(made))
    return [line for line in found if line] + [f"{path}: no record makes it" for path in stale]


def read_records(directory: Path) -> dict[str, Record]:
    """The record of each study in ``directory`` / records, STUDY-SCALE.json; of two the paper's."""
    if not (directory / RECORDS).is_dir():
        raise InvalidInput(f"{directory}: holds no folder {RECORDS}; give the one that holds it")
    found = {}
    for path in sorted((directory / RECORDS).glob("*.json"), reverse=True):  # small, then paper
        record = read_record(path)
        if path.stem != f"{record.study}-{record.scale}":
            raise InvalidInput(
                f"{path}: holds {record.study} at scale {record.scale}; "
                f"name it {record.study}-{record.scale}.json"
            )
        found[record.study] = record
    return found


def _documents(directory: Path, docs: Path) -> dict[Path, bytes]:
    """Every file that the records make."""
    made: dict[Path, bytes] = {}
    said: dict[str, tuple[Record, Page]] = {}
    for name, record in read_records(directory).items():
        picture = f"figures/results-{name}-{record.scale}.svg"
        told = borne_out(page(study(name), record, f"../{picture}"), name)
        said[name] = record, told
        made[docs / FOLDER / f"{name}.md"] = told.text.encode()
        made[docs / picture] = svg_bytes(draw_study(study(name), record))
    return {docs / FOLDER / INDEX: _index(said, _intro(docs)).encode(), **made}


def _index(said: Published, intro: str) -> str:
    """The introduction, with the studies where it has ``FINDINGS``, or at its end."""
    above, _, below = intro.partition(FINDINGS)
    known = [name for names in ORDER.values() for name in names]
    groups = {**ORDER, "Others": tuple(name for name in said if name not in known)}
    parts = [above.strip()]
    for heading, names in groups.items():
        there = [name for name in names if name in said]
        parts += [f"## {heading}"] if there else []
        first = heading == next(iter(ORDER))
        parts += [_entry(name, *said[name], pictured=first) for name in there]
    contents = "\n".join(name for names in groups.values() for name in names if name in said)
    parts += [below.strip(), f"```{{toctree}}\n:hidden:\n\n{contents}\n```" if contents else ""]
    return "\n\n".join(part for part in parts if part) + "\n"


def _entry(name: str, record: Record, told: Page, *, pictured: bool) -> str:
    """A question, its answer; in which setting, and the picture."""
    asked = f"### [{escaped(study(name).question)}]({name}.md)\n\n{told.opening}"
    picture = f"![{alt(study(name))}](../figures/results-{name}-{record.scale}.svg)"
    return f"{asked}\n\n*{escaped(setting(record))}*\n\n{picture}" if pictured else asked


def _intro(docs: Path) -> str:
    path = docs / FOLDER / INTRO
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be read ({error.strerror}); it opens the page of results: "
            "give the folder of the documentation, or write it"
        ) from None


def _difference(path: Path, content: bytes) -> str | None:
    if not path.exists():
        return f"{path}: is missing"
    if _same(path, content):
        return None
    lines = zip_longest(path.read_text("utf-8").splitlines(), content.decode().splitlines())
    number = next((n for n, (one, other) in enumerate(lines, 1) if one != other), 1)
    return f"{path}: differs from what the records say, first in line {number}"


def _same(path: Path, content: bytes) -> bool:
    held = path.read_bytes() if path.exists() else b""
    return held == content or (
        path.suffix == ".svg" and bool(held) and same_picture(held.decode(), content.decode())
    )


def same_picture(one: str, other: str) -> bool:
    """Whether two SVG files differ in nothing but rounding and the names of their parts."""
    texts = [_NUMBER.split(_ID.sub("id", text)) for text in (one, other)]
    numbers = [_NUMBER.findall(_ID.sub("id", text)) for text in (one, other)]
    return texts[0] == texts[1] and all(
        abs(float(a) - float(b)) <= _CLOSE for a, b in zip(*numbers, strict=True)
    )
