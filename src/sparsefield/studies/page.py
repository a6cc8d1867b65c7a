"""The page of a study: prose by hand, and what the record puts into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.studies.claims import filled, unborne
from sparsefield.studies.effects import Effect, effect
from sparsefield.studies.quantities import shown
from sparsefield.studies.record import Record
from sparsefield.studies.study import Study
from sparsefield.studies.tables import Table, escaped, table
from sparsefield.sweep.progress import duration
from sparsefield.train import TrainConfig

_ABBREVIATED = 12  # letters of a digest or a commit
_FACTS = ("data", "network", "depth", "width", "optimizer", "batch", "steps", "epochs")


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

    Raises
    ------
    InvalidInput
        The page names an effect or a table that the study has not, or an unknown tag.
    """
    found = cache(partial(effect, study, record))
    blocks = {
        "figure": lambda _: f"![{escaped(study.figure.get('caption', study.title))}]({picture})",
        "table": lambda name: _table(table(study, record, name), folded=not name),
        "effects": lambda _: _folded("Every effect", effects_table(map(found, study.effects))),
        "setting": lambda _: f"*{escaped(setting(record))}*",
        "command": lambda _: f"```console\n$ {command(record)}\n```",
        "made": lambda _: _made(record),
    }
    text = filled(study.page, found, blocks)
    return Page(text.rstrip("\n") + "\n", unborne(study.page, found))


def borne_out(made: Page, name: str) -> Page:
    """A page as it is.

    Raises
    ------
    InvalidInput
        A claim of it is not borne out by the record.
    """
    if made.unborne:
        raise InvalidInput(f"page {name}: {'; '.join(made.unborne)}; mend the page")
    return made


def with_warning(made: Page) -> str:
    """The page of any record: what it does not bear out stands above all else."""
    if not made.unborne:
        return made.text
    lines = "\n".join(f"> - {escaped(line)}" for line in made.unborne)
    return f"> **The text was written for another record. This one does not bear out:**\n>\n{lines}\n\n{made.text}"


def effects_table(found: Iterable[Effect]) -> Table:
    """Every effect: what it is, with its interval, its nested twin, seeds or arms, verdict."""
    rows = (
        (one.name, one.what, one.text(one.found), one.text(one.nested), str(one.found.n))
        + (_verdict(one),)
        for one in found
    )
    heads = ("effect", "what", "found", "nested selection", "n", "verdict")
    return Table(heads, tuple(rows))


def setting(record: Record) -> str:
    """What the runs were, in one line: data, sizes, training, seeds."""
    values = {name: _values(record, name) for name in _FACTS}
    facts = [f"{name} {_range(those)}" for name, those in values.items() if those]
    counts = {part: len({row.seed for row in record.rows_of(part)}) for part in record.parts}
    return f"{', '.join(facts)}; seeds {_range(list(dict.fromkeys(counts.values())))}"


def command(record: Record) -> str:
    """The command that makes the record again."""
    names = _values(record, "data")
    data = f" --data {names[0]}" if len(names) == 1 else ""
    return f"sparsefield reproduce {record.study} --scale {record.scale}{data}"


def _verdict(one: Effect) -> str:
    same = one.nested_verdict == one.verdict
    told = one.verdict if same else f"{one.verdict}, nested {one.nested_verdict}"
    return "" if told == "value" else told


def _table(found: Table, *, folded: bool) -> str:
    return (
        _folded("Every value tried (★: chosen by validation)", found)
        if folded
        else found.markdown()
    )


def _folded(summary: str, *inside: Table | str) -> str:
    texts = (one.markdown() if isinstance(one, Table) else one for one in inside)
    return "\n\n".join([f"<details>\n<summary>{summary}</summary>", *texts, "</details>"])


def _made(record: Record) -> str:
    """What made a record, folded."""
    made = record.made
    lines = [
        ("data", ", ".join(dict.fromkeys(_digest(record, part) for part in record.parts))),
        ("runs", f"{len(record.rows)}, {duration(made.seconds)} one after the other"),
        ("commit", ", ".join(one[:_ABBREVIATED] for one in made.commits) or "not recorded"),
        *((name, ", ".join(those)) for name, those in (made.versions | made.hardware).items()),
        *((f"part {part}", _config(record, part)) for part in record.parts),
    ]
    return _folded("What made it", Table(("", ""), tuple(lines)))


def _config(record: Record, part: str) -> str:
    """What the runs of a part share, as far as it is not the default, and what they sweep over."""
    defaults = TrainConfig.model_construct().model_dump(mode="json")
    shared = record.shared(part)
    given = [f"{name} {shown(v)}" for name, v in shared.items() if v != defaults.get(name)]
    swept = [f"{name} {_range(_values(record, name, part))}" for name in record.fields[part]]
    return "; ".join([", ".join(given), *([f"over {', '.join(swept)}"] if swept else [])])


def _digest(record: Record, part: str) -> str:
    names = ", ".join(map(str, _values(record, "data", part)))
    return f"{names} (SHA-256 {record.digests[part][:_ABBREVIATED] or 'unknown'}…)"


def _values(record: Record, name: str, part: str | None = None) -> list[Any]:
    rows = record.rows if part is None else record.rows_of(part)
    found = {str(row[name]): row[name] for row in rows if row[name] is not None}
    return list(found.values())


def _range(values: Sequence[Any]) -> str:
    """All of a few values, the ends of many numbers."""
    if len(values) > 4 and all(isinstance(value, int | float) for value in values):
        return f"{shown(min(values))} to {shown(max(values))}"
    return ", ".join(map(shown, values))
