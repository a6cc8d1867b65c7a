"""A record as a page of Markdown, which GitHub and MyST read alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sparsefield.studies.arms import arms
from sparsefield.studies.caveats import caveats, otherwise
from sparsefield.studies.reading import Finding, Reading, Table, shown
from sparsefield.studies.record import Record
from sparsefield.studies.setting import setting
from sparsefield.sweep.progress import duration
from sparsefield.train import TrainConfig

_ABBREVIATED = 12  # letters of a digest or a commit


def page(made: Sequence[tuple[Record, Reading]], pictures: Mapping[str, str]) -> str:
    """The page of a study from its records, one a scale.

    Parameters
    ----------
    made
        the records, and what each says.
    pictures
        scale -> where its figure lies, seen from the page.
    """
    first, _ = made[0]
    head = [
        f"# {first.title}",
        first.question,
        f"Source: {first.source}. Every sentence, number and picture here is computed from the "
        "record of the runs.",
    ]
    sections = [
        _section(record, reading, pictures[record.scale], headed=len(made) > 1)
        for record, reading in made
    ]
    return "\n\n".join([*head, *sections]) + "\n"


def bullet(finding: Finding) -> str:
    """A finding in a list, and nested selection where it says otherwise."""
    return _bullets([finding.sentence + otherwise(finding)])


def escaped(text: str) -> str:
    """Stars and dollars are meant as they stand."""
    return text.replace("*", r"\*").replace("$", r"\$")


def table_text(table: Table) -> str:
    """A table, numbers to the right, and its note below."""
    lines = [table.columns, tuple("---:" for _ in table.columns), *table.rows]
    text = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
    return f"{text}\n\n{escaped(table.note)}" if table.note else text


def made_rows(record: Record) -> list[tuple[str, str]]:
    """What made a record: name and value."""
    made = record.made
    return [
        ("command", f"`{command(record)}`"),
        ("data", ", ".join(_data(record))),
        ("runs", f"{len(record.rows)}, {duration(made.seconds)} one after the other"),
        ("commit", ", ".join(made.commits) or "not recorded"),
        *((name, ", ".join(values)) for name, values in made.versions.items()),
        *((name, ", ".join(values)) for name, values in made.hardware.items()),
    ]


def command(record: Record) -> str:
    """The command that makes the record again."""
    names = {row.config["data"] for row in record.rows}
    data = f" --data {names.pop()}" if len(names) == 1 else ""
    return f"sparsefield reproduce {record.study} --scale {record.scale}{data}"


def _section(record: Record, reading: Reading, picture: str, *, headed: bool) -> str:
    level = "##" if headed else "#"
    opening = [f"## Scale: {record.scale}"] if headed else []
    tables = [
        text for table in reading.tables for text in (f"{level}# {table.title}", table_text(table))
    ]
    told = caveats(record, reading)
    return "\n\n".join(
        [
            *opening,
            f"*Setting: {escaped(setting(record))}*",
            f"{level}# Findings",
            "\n".join(map(bullet, reading.findings)),
            *([f"{level}# Caveats", _bullets(told)] if told else []),
            f"![{reading.caption}]({picture})",
            f"*{escaped(reading.caption)}*",
            *tables,
            f"{level}# How it was made",
            *_how(record),
        ]
    )


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(sentence)}" for sentence in sentences)


def _how(record: Record) -> list[str]:
    lines = [("", ""), ("---", "---"), *made_rows(record)]
    return [
        "\n".join(f"| {name} | {_cell(value)} |" for name, value in lines),
        *(_config(record, part) for part in record.parts),
    ]


def _config(record: Record, part: str) -> str:
    """What the runs of a part share, as far as it is not the default, and what they sweep over."""
    defaults = TrainConfig.model_construct().model_dump(mode="json")
    shared = record.shared(part)
    given = {name: value for name, value in shared.items() if value != defaults.get(name)}
    swept = [f"{name} ({', '.join(_values(record, part, name))})" for name in record.fields[part]]
    found = arms(record, part)
    chosen = [name for name in record.tuned if any(arm.tried(name)[1:] for arm in found)]
    by = f" In each arm {', '.join(chosen)} is chosen by validation accuracy." if chosen else ""
    count = len({row.seed for row in record.rows_of(part)})
    settings = ", ".join(f"{name} {shown(value)}" for name, value in given.items())
    return escaped(
        f"Part {part}: {settings}; all else as by default. Over {', '.join(swept) or 'nothing'}, "
        f"{count} seed{'' if count == 1 else 's'}.{by}"
    )


def _values(record: Record, part: str, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(shown(row.config[name]) for row in record.rows_of(part)))


def _data(record: Record) -> list[str]:
    """Name and digest of the data, once where all parts have the same."""
    return list(dict.fromkeys(_data_of(record, part) for part in record.parts))


def _data_of(record: Record, part: str) -> str:
    names = dict.fromkeys(row.config["data"] for row in record.rows_of(part))
    return f"{' and '.join(names)} (SHA-256 {record.digests[part][:_ABBREVIATED] or 'unknown'}…)"


def _cell(text: str) -> str:
    return text if text.startswith("`") else escaped(text).replace("|", r"\|")
