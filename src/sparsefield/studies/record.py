"""The record of a study: what its runs found and what made them, in one small file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sparsefield.errors import InvalidInput
from sparsefield.train.atomic import write_bytes

FORMAT = 1
RECORD = "record.json"
MEASURES = (
    *("test_accuracy", "validation_accuracy", "train_loss", "failed", "reason"),
    *("steps_made", "steps_to_half", "seconds", "zeros_init", "zeros_end", "zeros_end_last"),
    *("q_end", "saturated_init", "saturated_end", "chi1_init", "chi1_end"),
    *("grad_ratio_init", "logit_rms_init", "logit_rms_end", "thresholded"),
)
_TOLD = ("study", "scale", "title", "question", "source")
_LATER = frozenset({"thresholded"})  # measures younger than the format: null where absent
_json = partial(json.dumps, ensure_ascii=False, allow_nan=False)


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
        if name in ("part", "seed"):
            return getattr(self, name)
        return self.measures[name] if name in self.measures else self.config[name]


@dataclass(frozen=True)
class Made:
    """What made the runs: commits of the code; by name versions and hardware, several where runs
    differ; the seconds of all runs one after the other.
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


def differing(configs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The fields that do not have one value in all configs, in the order of the config."""
    first = configs[0]
    return tuple(name for name in first if any(config[name] != first[name] for config in configs))


def write_record(path: Path, record: Record) -> None:
    """Write a record, one run a line, whole or not at all."""
    parts = {
        part: {"digest": record.digests[part], "fields": record.fields[part]}
        | {"config": record.shared(part)}
        for part in record.parts
    }
    told = {name: getattr(record, name) for name in (*_TOLD, "tuned")}
    head = {"format": FORMAT, **told, "made": asdict(record.made), "parts": parts}
    rows = ",\n".join(f"  {_json(_flat(record, row))}" for row in record.rows)
    opening = _json(head, indent=1).removesuffix("\n}")
    write_bytes(path, f'{opening},\n "runs": [\n{rows}\n ]\n}}\n'.encode())


def read_record(path: str | Path) -> Record:
    """Read a record.

    Raises
    ------
    InvalidInput
        No such file, or one that is damaged or no record.
    """
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
    swept = {name: row.config[name] for name in record.fields[row.part]}
    return {"part": row.part, **swept, "seed": row.seed, **row.measures}


def _from_json(content: Mapping[str, Any]) -> Record:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, not {FORMAT}")
    parts, made = content["parts"], content["made"]
    return Record(
        **{name: content[name] for name in _TOLD},
        tuned=tuple(content["tuned"]),
        digests={part: parts[part]["digest"] for part in parts},
        fields={part: tuple(parts[part]["fields"]) for part in parts},
        rows=tuple(_row(row, parts) for row in content["runs"]),
        made=Made(
            tuple(made["commits"]),
            {name: tuple(those) for name, those in made["versions"].items()},
            {name: tuple(those) for name, those in made["hardware"].items()},
            float(made["seconds"]),
        ),
    )


def _row(flat: Mapping[str, Any], parts: Mapping[str, Any]) -> Row:
    part = parts[flat["part"]]
    config = {**part["config"], **{name: flat[name] for name in part["fields"]}}
    measures = {name: flat.get(name) if name in _LATER else flat[name] for name in MEASURES}
    return Row(flat["part"], flat["seed"], config, measures)
