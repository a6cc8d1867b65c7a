"""The record of a study: what its runs found and what made them, in one small file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.studies.measures import MEASURES
from sparsefield.train.atomic import write_bytes

FORMAT = 1
RECORD = "record.json"
_HEAD = ("part", "seed")
_LATER = frozenset({"thresholded"})  # measures younger than the format: null where absent


@dataclass(frozen=True)
class Row:
    """One run: its part, its seed, its whole config but the seed, and its measures.

    ``row[name]`` is a measure, a field of the config, the part or the seed.
    """

    part: str
    seed: int
    config: Mapping[str, Any]
    measures: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        if name in _HEAD:
            return getattr(self, name)
        return self.measures[name] if name in self.measures else self.config[name]


@dataclass(frozen=True)
class Made:
    """What made the runs of a record; several values where the runs differ.

    ``commits`` of the code, ``versions`` and ``hardware`` by name, ``seconds`` of all runs one
    after the other.
    """

    commits: tuple[str, ...]
    versions: Mapping[str, tuple[str, ...]]
    hardware: Mapping[str, tuple[str, ...]]
    seconds: float


@dataclass(frozen=True)
class Record:
    """What a study found at one scale.

    Attributes
    ----------
    study, scale, title, question, source, tuned
        as in the catalogue when the record was made.
    digests
        of the data, by part.
    fields
        the fields in which the runs of a part differ, seeds aside, by part.
    rows
        the runs, in the order of their sweeps.
    made
        what made them.
    """

    study: str
    scale: str
    title: str
    question: str
    source: str
    tuned: tuple[str, ...]
    digests: Mapping[str, str]
    fields: Mapping[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    made: Made

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that have a run."""
        return tuple(dict.fromkeys(row.part for row in self.rows))

    def rows_of(self, part: str) -> tuple[Row, ...]:
        """The runs of a part."""
        return tuple(row for row in self.rows if row.part == part)

    def shared(self, part: str) -> dict[str, Any]:
        """The fields that all runs of a part share."""
        config = self.rows_of(part)[0].config
        return {name: config[name] for name in config if name not in self.fields[part]}


def differing(configs: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """The fields that do not have one value in all configs, in the order of the config."""
    first = configs[0]
    return tuple(name for name in first if any(config[name] != first[name] for config in configs))


def write_record(path: Path, record: Record) -> None:
    """Write a record, one run a line, whole or not at all."""
    write_bytes(path, dumped(record).encode())


def read_record(path: str | Path) -> Record:
    """Read a record.

    Raises
    ------
    InvalidInput
        No such file, or one that is damaged or no record.
    """
    path = Path(path)
    try:
        return _from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such record; make it with reproduce") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InvalidInput(
            f"{path}: is damaged or no record of a study ({type(error).__name__}: {error}); "
            "bring it back, or make it again with reproduce"
        ) from None


def dumped(record: Record) -> str:
    """The record as JSON: the head indented, then one run a line."""
    head = {
        "format": FORMAT,
        "study": record.study,
        "scale": record.scale,
        "title": record.title,
        "question": record.question,
        "source": record.source,
        "tuned": record.tuned,
        "made": asdict(record.made),
        "parts": {part: _part(record, part) for part in record.parts},
    }
    rows = ",\n".join(f"  {_json(_flat(record, row))}" for row in record.rows)
    opening = json.dumps(head, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    return f'{opening},\n "runs": [\n{rows}\n ]\n}}\n'


def _part(record: Record, part: str) -> dict[str, Any]:
    return {
        "digest": record.digests[part],
        "fields": record.fields[part],
        "config": record.shared(part),
    }


def _flat(record: Record, row: Row) -> dict[str, Any]:
    swept = {name: row.config[name] for name in record.fields[row.part]}
    return {"part": row.part, **swept, "seed": row.seed, **row.measures}


def _from_json(content: Mapping[str, Any]) -> Record:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, not {FORMAT}")
    parts = content["parts"]
    return Record(
        **{name: content[name] for name in ("study", "scale", "title", "question", "source")},
        tuned=tuple(content["tuned"]),
        digests={part: parts[part]["digest"] for part in parts},
        fields={part: tuple(parts[part]["fields"]) for part in parts},
        rows=tuple(_row(row, parts) for row in content["runs"]),
        made=_made(content["made"]),
    )


def _row(flat: Mapping[str, Any], parts: Mapping[str, Any]) -> Row:
    part = parts[flat["part"]]
    config = {**part["config"], **{name: flat[name] for name in part["fields"]}}
    measures = {name: flat.get(name) if name in _LATER else flat[name] for name in MEASURES}
    return Row(flat["part"], flat["seed"], config, measures)


def _made(content: Mapping[str, Any]) -> Made:
    return Made(
        commits=tuple(content["commits"]),
        versions=_tuples(content["versions"]),
        hardware=_tuples(content["hardware"]),
        seconds=float(content["seconds"]),
    )


def _tuples(named: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(values) for name, values in named.items()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
