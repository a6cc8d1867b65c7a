"""The page of a study: prose by hand, and what the record puts into it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.studies.claims import filled, unborne
from sparsefield.studies.effects import Effect, effect
from sparsefield.studies.record import Record
from sparsefield.studies.results import ABBREVIATED, provenance
from sparsefield.studies.study import Study
from sparsefield.studies.tables import MARK, Table, escaped, shown, table
from sparsefield.train import TrainConfig

_FACTS = (
    *("data", "network", "depth", "width", "optimizer", "batch", "steps", "epochs"),
    *("q", "clip", "m", "sparsity", "skip", "seed"),
)
_SAID = {"q": "q*", "clip": "clip ratio", "m": "clip height", "sparsity": "zeros asked for"}
_EVERY = "Every value tried"
_WARNING = "**The text was written for another record. This one does not bear out:**"


@dataclass(frozen=True)
class Page:
    """A page as Markdown, and the claims of its prose that the record does not bear out."""

    text: str
    unborne: tuple[str, ...]

    @property
    def opening(self) -> str:
        """Its answer: the first paragraph below the title."""
        return next((part for part in self.text.split("\n\n") if not part.startswith("#")), "")


def page(study: Study, record: Record, picture: str) -> Page:
    """The page of a record, with its figure at ``picture``, seen from the page.

    Raises InvalidInput for a tag that is none, or of an effect or a table that the study has not.
    """
    found = cache(partial(effect, study, record))
    seen = partial(table, study, record)
    caption = escaped(str(study.figure.get("caption", study.title)))
    blocks = {
        "figure": lambda _: f"![{alt(study)}]({picture})\n\n*{caption}*",
        "table": lambda name: seen(name).markdown() if name else _every(seen()),
        "effects": lambda _: _folded("Every effect", effects_table(map(found, study.effects))),
        "setting": lambda _: f"*{escaped(setting(record))}*",
        "command": lambda _: f"```console\n$ {command(record)}\n```",
        "made": lambda _: _folded("What made it", _made(record)),
    }
    try:
        text = filled(study.page, found, blocks)
    except InvalidInput as error:
        raise InvalidInput(f"page {study.name}: {error}") from None
    return Page(text.rstrip("\n") + "\n", unborne(study.page, found))


def borne_out(made: Page, name: str) -> Page:
    """A page as it is; InvalidInput where its record does not bear out a claim of it."""
    if made.unborne:
        raise InvalidInput(f"page {name}: {'; '.join(made.unborne)}; mend the page")
    return made


def with_warning(made: Page) -> str:
    """The page of any record: what it does not bear out stands above all else."""
    lines = "\n".join(f"> - {escaped(line)}" for line in made.unborne)
    return f"> {_WARNING}\n>\n{lines}\n\n{made.text}" if lines else made.text


def effects_table(found: Iterable[Effect]) -> Table:
    """Every effect: what it is, with its interval, its nested twin, seeds or arms, verdict."""
    heads = ("effect", "what", "found", "by nested selection", "n", "verdict")
    told = ((one.name, one.what, one.text(one.found), one.text(one.nested), one) for one in found)
    return Table(heads, tuple((*texts, str(one.found.n), one.told) for *texts, one in told))


def setting(record: Record) -> str:
    """What the runs were, in one line: data, sizes, training, seeds."""
    facts = ((name, _values(record, name)) for name in _FACTS)
    return "; ".join(f"{_SAID.get(name, name)} {told}" for name, told in facts if told)


def alt(study: Study) -> str:
    """What the figure shows, for those who cannot see it; the title where the study is silent."""
    return escaped(str(study.figure.get("alt", study.title)))


def command(record: Record) -> str:
    """The command that makes the record again."""
    names = {row["data"] for row in record.rows}
    data = f" --data {names.pop()}" if len(names) == 1 else ""
    return f"sparsefield reproduce {record.study} --scale {record.scale}{data}"


def _every(tried: Table) -> str:
    """Every value tried, with a word on the mark where there is one."""
    marked = any(MARK in row for row in tried.rows)
    return _folded(f"{_EVERY} ({MARK}: chosen by validation)" if marked else _EVERY, tried)


def _folded(summary: str, inside: Table) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{inside.markdown()}\n\n</details>"


def _made(record: Record) -> Table:
    """What made a record."""
    from sparsefield.sweep.progress import duration  # beside what makes runs, with PyTorch

    lines = {
        "runs": f"{len(record.rows)}, {duration(record.made['seconds'])} one after the other",
        **provenance(record.made),
        **{f"part {part}": _part(record, part) for part in record.parts},
    }
    return Table(("", ""), tuple(lines.items()))


def _part(record: Record, part: str) -> str:
    """What the runs of a part share, as far as it is not the default, and what they sweep over."""
    told, defaults = record.parts[part], TrainConfig.model_construct().model_dump(mode="json")
    shared = [f"{k} {shown(v)}" for k, v in told["config"].items() if v != defaults.get(k)]
    swept = [f"{name} {_values(record, name, part)}" for name in (*told["fields"], "seed")]
    digest = f"data with SHA-256 {told['digest'][:ABBREVIATED] or 'unknown'}…"
    return f"{', '.join([*shared, digest])}; over {', '.join(swept)}"


def _values(record: Record, name: str, part: str | None = None) -> str:
    """The values of a field: all of a few, the ends of many numbers."""
    rows = record.rows if part is None else record.rows_of(part)
    found = {str(row[name]): row[name] for row in rows if row[name] is not None}
    values: list[Any] = list(found.values())
    if len(values) > 4 and all(isinstance(value, int | float) for value in values):
        values = [f"{shown(min(values))} to {shown(max(values))}"]
    return ", ".join(map(shown, values))
