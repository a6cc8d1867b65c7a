"""The table of a sweep: one row a run, and over the seeds of each arm the means, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsefield.errors import require
from sparsefield.sweep.failure import read_failure
from sparsefield.sweep.folder import place
from sparsefield.sweep.grid import Grid, NamedConfig
from sparsefield.sweep.statistics import ANYTHING, SHARES, Interval, mean
from sparsefield.train.atomic import write_bytes
from sparsefield.train.record import RESULT, read_result

TABLE = "table.parquet"
MEASURED = ("test_accuracy", "train_loss", "sparsity_init", "sparsity_end")
_TYPES = {
    **{"seed": "int64", **dict.fromkeys(MEASURED, "float64")},
    **{"failed": "bool", "reason": "string", "steps_made": "int64", "seconds": "float64"},
}
Row = dict[str, Any]


@dataclass(frozen=True)
class ArmSummary:
    """Runs that differ in nothing but the seed: their swept fields, and means over seeds.

    A run without a result counts as failed and is in no mean.
    """

    values: dict[str, Any]
    runs: int
    failed: int
    means: dict[str, Interval]


def rows(directory: Path, grid: Grid) -> list[Row]:
    """One row for each run that has ended, in the order of the grid.

    The keys: name, the swept fields with every default resolved, seed, test_accuracy,
    train_loss (NaN if it diverged), sparsity_init and sparsity_end (shares of exact zeros on the
    test set, means over layers), failed, reason, steps_made, and last seconds, the only one that
    differs from one making to the next.
    A run that raised or was killed has None in place of what was to be measured.
    """
    found = [_row(place(directory, run), run, grid.fields) for run in grid.runs]
    return [row for row in found if row is not None]


def summaries(table: Sequence[Row], grid: Grid) -> list[ArmSummary]:
    """The arms in the order of the grid."""
    arms: dict[str, list[Row]] = {}
    arm_of = {run.name: _arm(run) for run in grid.runs}
    for row in table:
        arms.setdefault(arm_of[row["name"]], []).append(row)
    return [_summary(arm, grid.fields) for arm in arms.values()]


def write_table(directory: Path, table: Sequence[Row], grid: Grid) -> Path:
    """Write ``table.parquet``."""
    pa, pq = require("pyarrow", "train"), require("pyarrow.parquet", "train")
    swept = dict.fromkeys(grid.fields)  # of whatever type holds all their values
    columns = {
        name: pa.array(_column([row[name] for row in table]), kind)
        for name, kind in {"name": "string", **swept, **_TYPES}.items()
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    path = directory / TABLE
    write_bytes(path, sink.getvalue().to_pybytes())
    return path


def read_table(directory: str | Path) -> list[Row]:
    """The rows of a sweep's ``table.parquet``."""
    pq = require("pyarrow.parquet", "train")
    found: list[Row] = pq.read_table(Path(directory) / TABLE).to_pylist()
    return found


def _row(directory: Path, run: NamedConfig, fields: tuple[str, ...]) -> Row | None:
    swept = {field: _cell(getattr(run.config, field)) for field in fields}
    row: Row = {"name": run.name, **swept, **dict.fromkeys(_TYPES), "seed": run.config.seed}
    if (directory / RESULT).exists():
        result = read_result(directory)
        return row | {
            "test_accuracy": result.test_accuracy,
            "train_loss": result.train_loss,
            "sparsity_init": math.fsum(result.sparsity_init) / len(result.sparsity_init),
            "sparsity_end": result.sparsity_mean,
            "failed": result.failed,
            "reason": result.reason,
            "steps_made": result.steps,
            "seconds": result.seconds,
        }
    failure = read_failure(directory)
    return row | {"failed": True, "reason": failure.reason} if failure else None


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def _arm(run: NamedConfig) -> str:
    return run.config.model_copy(update={"seed": 0}).model_dump_json()


def _summary(arm: list[Row], fields: tuple[str, ...]) -> ArmSummary:
    measured = {name: [row[name] for row in arm if row[name] is not None] for name in MEASURED}
    means = {
        name: mean(values, within=ANYTHING if name == "train_loss" else SHARES)
        for name, values in measured.items()
    }
    failed = sum(row["failed"] for row in arm)
    return ArmSummary({field: arm[0][field] for field in fields}, len(arm), failed, means)


def _column(values: list[Any]) -> list[Any]:
    """Numbers among words become words."""
    words = any(isinstance(value, str) for value in values)
    return [str(value) if words and value is not None else value for value in values]
