"""The pages of documentation that are made from records, written or compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from sparsefield.errors import InvalidInput
from sparsefield.pictures.saving import svg_bytes
from sparsefield.studies.page import bullet, escaped, page
from sparsefield.studies.questions import FIRST, first, others, question
from sparsefield.studies.reading import Reading, read
from sparsefield.studies.record import Record, read_record
from sparsefield.studies.setting import setting
from sparsefield.studies.study import SCALES
from sparsefield.train.atomic import write_bytes

RECORDS = "records"
FOLDER, INTRO, INDEX = "results", "intro.md", "index.md"
Said = Mapping[str, Sequence[tuple[Record, Reading]]]  # by study, each record with what it says
FINDINGS = "<!-- findings -->"  # in the introduction, where the studies stand
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_ID = re.compile(r"\b[a-z]+[0-9a-f]{10}\b")
_CLOSE = 0.05  # points: what another processor's rounding may move


def read_records(directory: Path) -> dict[str, list[Record]]:
    """The records of ``directory`` / records by study, the paper's scale first.

    Raises
    ------
    InvalidInput
        No such directory, a damaged record, or one whose file is not named STUDY-SCALE.json.
    """
    if not (directory / RECORDS).is_dir():
        raise InvalidInput(f"{directory}: holds no folder {RECORDS}; give the one that holds it")
    found: dict[str, list[Record]] = {}
    for path in sorted((directory / RECORDS).glob("*.json")):
        record = read_record(path)
        if path.stem != f"{record.study}-{record.scale}":
            raise InvalidInput(
                f"{path}: holds {record.study} at scale {record.scale}; "
                f"name it {record.study}-{record.scale}.json"
            )
        found.setdefault(record.study, []).append(record)
    order = tuple(reversed(SCALES))
    return {name: sorted(few, key=lambda r: order.index(r.scale)) for name, few in found.items()}


def documents(studies: Mapping[str, Sequence[Record]], docs: Path) -> dict[Path, bytes]:
    """Every file that the records make, by its path below ``docs``."""
    said = {name: [(record, read(record)) for record in few] for name, few in studies.items()}
    made: dict[Path, bytes] = {Path(FOLDER, INDEX): _index(said, _intro(docs)).encode()}
    for name, few in said.items():
        pictures = {record.scale: f"../{picture(record)}" for record, _ in few}
        made[Path(FOLDER, f"{name}.md")] = page(few, pictures).encode()
        made |= {picture(record): svg_bytes(reading.draw()) for record, reading in few}
    return made


def publish(directory: str | Path, docs: str | Path) -> list[Path]:
    """Write the documentation that the records of ``directory`` make into ``docs``.

    Returns
    -------
    list
        The files that changed.
    """
    changed = []
    for path, content in documents(read_records(Path(directory)), Path(docs)).items():
        target = Path(docs) / path
        if not _same(target, content):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, content)
            changed.append(target)
    return changed


def differences(directory: str | Path, docs: str | Path) -> list[str]:
    """One line for each file of ``docs`` that is not what the records make; nothing is written."""
    docs = Path(docs)
    made = documents(read_records(Path(directory)), docs)
    found = [_difference(docs / path, content) for path, content in made.items()]
    stale = sorted(path for path in _generated(docs) if path.relative_to(docs) not in made)
    return [line for line in found if line] + [f"{path}: no record makes it" for path in stale]


def picture(record: Record) -> Path:
    """Where the figure of a record lies below the documentation."""
    return Path("figures", f"results-{record.study}-{record.scale}.svg")


def same_picture(one: str, other: str) -> bool:
    """Whether two SVG files differ in nothing but rounding and the names of their parts."""
    texts = [_NUMBER.split(_ID.sub("id", text)) for text in (one, other)]
    numbers = [_NUMBER.findall(_ID.sub("id", text)) for text in (one, other)]
    return texts[0] == texts[1] and all(
        abs(float(a) - float(b)) <= _CLOSE for a, b in zip(*numbers, strict=True)
    )


def _index(said: Said, intro: str) -> str:
    """The introduction, with the studies where it has ``FINDINGS``, or at its end."""
    above, _, below = intro.partition(FINDINGS)
    five, rest = first(said), others(said)
    opening = "The five findings" if len(five) == len(FIRST) else "Findings"
    names = [*five, *rest]
    contents = ["```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```"] if names else []
    parts = [
        above.strip(),
        *_entries(opening, five, said),
        *_entries("More findings", rest, said),
        below.strip(),
        *contents,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _entries(heading: str, names: Sequence[str], said: Said) -> list[str]:
    found = [part for name in names for part in _entry(name, *said[name][0])]
    return [f"## {heading}", *found] if found else []


def _entry(name: str, record: Record, reading: Reading) -> list[str]:
    """A question, in which setting it was asked, its answer, and the picture."""
    return [
        f"### [{escaped(question(record))}]({name}.md)",
        f"*{escaped(setting(record))}*",
        "\n".join(bullet(finding) for finding in reading.findings[:1]),
        f"![{reading.caption}](../{picture(record)})",
    ]


def _intro(docs: Path) -> str:
    path = docs / FOLDER / INTRO
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be read ({error.strerror}); it opens the page of results: "
            "give the folder of the documentation, or write it"
        ) from None


def _generated(docs: Path) -> list[Path]:
    pages = [path for path in (docs / FOLDER).glob("*.md") if path.name != INTRO]
    return [*pages, *(docs / "figures").glob("results-*.svg")]


def _difference(path: Path, content: bytes) -> str | None:
    if not path.exists():
        return f"{path}: is missing"
    if _same(path, content):
        return None
    lines = zip_longest(path.read_text("utf-8").splitlines(), content.decode().splitlines())
    number = next((n for n, (one, other) in enumerate(lines, 1) if one != other), 1)
    return f"{path}: differs from what the records say, first in line {number}"


def _same(path: Path, content: bytes) -> bool:
    if not path.exists():
        return False
    held = path.read_bytes()
    if held == content or path.suffix != ".svg":
        return held == content
    return same_picture(held.decode(), content.decode())
