"""The record of a study: what its runs found and what made them, in one small file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefield.errors import InvalidInput
from sparsefield.train.atomic import write_bytes

if TYPE_CHECKING:
    from sparsefield.train import Run

FORMAT = 1
RECORD = "record.json"
MEASURES = (
    *("test_accuracy", "validation_accuracy", "train_loss", "failed", "reason"),
    *("steps_made", "steps_to_half", "seconds", "zeros_init", "zeros_end", "zeros_end_last"),
    *("q_end", "saturated_init", "saturated_end", "chi1_init", "chi1_end"),
    *("thresholded", "dense_accuracy", "cut_accuracy"),
)
TOLD = ("title", "question", "source", "tuned")  # as in the catalogue when the record was made
# Measures younger than the format: null where absent.
_LATER = ("thresholded", "dense_accuracy", "cut_accuracy")
_MADE = ("commits", "versions", "hardware", "seconds")
_json = partial(json.dumps, ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True)
class Row:
    """One run: its part, its seed, its whole config but the seed, and its measures.

    ``row[name]`` is a measure, a field of the config, the part or the seed. ``run``: itself, with
    its tables, where it was read from its directory and not from a record.
    """

    part: str
    seed: int
    config: Mapping[str, Any]
    measures: Mapping[str, Any]
    run: Run | None = None

    def __getitem__(self, name: str) -> Any:
        if name in ("part", "seed"):
            return getattr(self, name)
        return self.measures[name] if name in self.measures else self.config[name]


@dataclass(frozen=True)
class Record:
    """What a study found at one scale.

    ``parts``: by name the ``digest`` of the data, the ``fields`` in which runs differ, seeds aside,
    and the ``config`` that they share. ``made``: the ``commits`` of the code, ``versions`` and
    ``hardware`` by name, several where runs differ, and ``seconds`` of all runs one by one.
    """

    study: str
    scale: str
    title: str
    question: str
    source: str
    tuned: Sequence[str]
    made: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, Any]]
    rows: tuple[Row, ...]

    def rows_of(self, part: str) -> tuple[Row, ...]:
        """The runs of a part."""
        return tuple(row for row in self.rows if row.part == part)


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields that do not have one value in all configs, in the order of the config."""
    first = configs[0]
    return [name for name in first if any(config[name] != first[name] for config in configs)]


def write_record(path: Path, record: Record) -> None:
    """Write a record, one run a line, whole or not at all."""
    told = {name: value for name, value in vars(record).items() if name != "rows"}
    opening = _json({"format": FORMAT, **told}, indent=1).removesuffix("\n}")
    rows = ",\n".join(f"  {_json(_flat(record, row))}" for row in record.rows)
    write_bytes(path, f'{opening},\n "runs": [\n{rows}\n ]\n}}\n'.encode())


def read_record(path: str | Path) -> Record:
    """Read a record; InvalidInput where there is none, or a damaged one."""
    try:
        return _from_json(json.loads(Path(path).read_bytes()))
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such record; make it with reproduce") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InvalidInput(
            f"{path}: is damaged or no record of a study ({type(error).__name__}: {error}); "
            "bring it back, or make it again with reproduce"
        ) from None


def _flat(record: Record, row: Row) -> dict[str, Any]:
    swept = {name: row.config[name] for name in record.parts[row.part]["fields"]}
    return {"part": row.part, **swept, "seed": row.seed, **row.measures}


def _from_json(content: Mapping[str, Any]) -> Record:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, not {FORMAT}")
    made = {name: content["made"][name] for name in _MADE}
    rows = tuple(_row(flat, content["parts"][flat["part"]]) for flat in content["runs"])
    told = {name: content[name] for name in ("study", "scale", *TOLD, "parts")}
    return Record(**told, made=made, rows=rows)


def _row(flat: Mapping[str, Any], part: Mapping[str, Any]) -> Row:
    config = {**part["config"], **{name: flat[name] for name in part["fields"]}}
    measures = {name: flat.get(name) if name in _LATER else flat[name] for name in MEASURES}
    return Row(flat["part"], flat["seed"], config, measures)
