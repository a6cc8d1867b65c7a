"""The record of a run: a directory whose result.json, written last, means that it is finished."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsefield.errors import InvalidInput, require
from sparsefield.train.atomic import remove_parts, write_bytes
from sparsefield.train.config import TrainConfig
from sparsefield.train.configfile import differences, dump_config, load_config

CONFIG, RESULT, CHECKPOINT = "config.yaml", "result.json", "checkpoint"
METRICS, LAYERS = "metrics.parquet", "layers.parquet"
TOGETHER = "together"  # of versions that trained several runs as one: state that none reads now
METRICS_COLUMNS = {
    **dict.fromkeys(("step", "epoch"), "int64"),
    **dict.fromkeys(("loss", "lr", "test_accuracy", "seconds"), "float64"),
    **dict.fromkeys(("zeros", "zeros_trained", "hold_weight"), "float64"),
}
_LATER = {"zeros", "zeros_trained", "hold_weight"}  # NaN in tables made before there were any
LAYERS_COLUMNS = {
    **dict.fromkeys(("step", "layer"), "int64"),
    **dict.fromkeys(("q", "sparsity", "saturated", "dead", "grad_rms"), "float64"),
    **dict.fromkeys(("q_theory", "sparsity_theory"), "float64"),
}
Row = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]
Table = dict[str, NDArray[Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """How a run ended; the keys of ``result.json``.

    Attributes
    ----------
    test_accuracy
        Share of the test set classified rightly after the last step.
    train_loss
        Mean cross-entropy over the batches of the last epoch, without the penalty if there is
        one; NaN (null in the file) if it diverged.
    sparsity_mean
        Mean over layers of ``sparsity_per_layer``.
    sparsity_per_layer
        Share of exact zeros after each activation, on the test set, at the end.
    failed
        Whether the run counts as failed; see :func:`sparsefield.train.verdict.failure`.
    reason
        Why it failed, or None.
    steps
        Optimiser steps made.
    seconds
        Wall-clock time of training and evaluation, all parts of a resumed run together.
    seed
        The config's seed.
    versions
        Of python, torch, numpy, sparsefield.
    sparsity_init
        ``sparsity_per_layer`` before the first step.
    hardware
        Cpu, cores, threads, processes, gpu.
    data_digest
        Key of the content of the dataset.
    validation_accuracy
        As ``test_accuracy``, on the training images that were kept apart; None if there are none.
    commit
        Of the source tree that made the run, ``-dirty`` with changes in it; None where the
        package is installed without its repository, or the record is older than this key.
    engine
        How the last step went: the engine ``asked`` for, ``layers_on_lists`` ``of`` those that can
        (0: dense), the ``speedup`` over dense where ``auto`` measured it, and the ``reason`` why
        nothing ran on lists, if that was asked for. None: dense, before there was a choice.
    threshold
        Where ``threshold`` was asked for: the ``step`` before which the thresholds rose, and the
        accuracy on the test set just ``before`` and just ``after``, without a step of training.
    dead_share
        Share of all units that fired for no test image; None in records older than this key.
    """

    test_accuracy: float
    train_loss: float
    sparsity_mean: float
    sparsity_per_layer: tuple[float, ...]
    failed: bool
    reason: str | None
    steps: int
    seconds: float
    seed: int
    versions: dict[str, str]
    sparsity_init: tuple[float, ...]
    hardware: dict[str, Any]
    data_digest: str
    validation_accuracy: float | None = None
    commit: str | None = None
    engine: dict[str, Any] | None = None
    threshold: dict[str, Any] | None = None
    dead_share: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON knows it: lists, and None for a loss that is not finite."""
        loss = self.train_loss if math.isfinite(self.train_loss) else None
        return {
            **asdict(self),
            "train_loss": loss,
            "sparsity_per_layer": list(self.sparsity_per_layer),
            "sparsity_init": list(self.sparsity_init),
        }


@dataclass(frozen=True)
class Run:
    """A finished run as read from its directory; tables are columns by name, arrays of one length.

    ``metrics``: step, epoch, loss (mean since the row before), lr, test_accuracy and zeros on the
    test set (NaN where not evaluated), seconds; and of a run with ``hold`` the zeros_trained of its
    last batch and the hold_weight of the next. ``layers``: the rows of
    :class:`sparsefield.monitor.Monitor`.
    """

    config: TrainConfig
    result: Result
    metrics: Table
    layers: Table


def read_run(directory: str | Path) -> Run:
    """Read a finished run.

    Raises
    ------
    InvalidInput
        No run there, not finished, or a damaged file.
    """
    path = Path(directory)
    if not (path / CONFIG).exists():
        raise InvalidInput(f"{path}: holds no {CONFIG}; give the directory of a run")
    if not (path / RESULT).exists():
        raise InvalidInput(f"{path}: holds no {RESULT}, the run is not finished; resume it")
    return Run(
        load_config(path / CONFIG),
        read_result(path),
        _read_table(path / METRICS, METRICS_COLUMNS),
        _read_table(path / LAYERS, LAYERS_COLUMNS),
    )


def read_result(directory: Path) -> Result:
    """Read ``result.json``; keys that this version does not know are left out."""
    return _undamaged(directory / RESULT, lambda path: _result(json.loads(path.read_bytes())))


def open_run(directory: Path, config: TrainConfig, *, resume: bool) -> Result | None:
    """Make ``directory`` ready for a run of ``config``; the result, if it is already finished.

    Raises
    ------
    InvalidInput
        It holds a run and ``resume`` is off, or a run of another config.
    """
    finished = (directory / RESULT).exists()
    begun = any((directory / name).exists() for name in (CHECKPOINT, TOGETHER))
    if not (finished or begun):
        _check_unused(directory / CONFIG, config)
    elif not resume:
        raise InvalidInput(
            f"{directory}: already holds {'a finished' if finished else 'an unfinished'} run; "
            "resume it, or give another directory"
        )
    else:
        check_same(directory, config)
    if finished:
        return read_result(directory)
    remove_parts(directory)
    (directory / TOGETHER).unlink(missing_ok=True)
    write_bytes(directory / CONFIG, dump_config(config).encode())
    return None


def write_tables(directory: Path, metrics: Rows, layers: Rows) -> None:
    """Write ``metrics.parquet`` and ``layers.parquet``."""
    _write_table(directory / METRICS, metrics, METRICS_COLUMNS)
    _write_table(directory / LAYERS, layers, LAYERS_COLUMNS)


def write_result(directory: Path, result: Result) -> None:
    """Write ``result.json``: from here on the run is finished."""
    text = json.dumps(result.to_dict(), indent=2, allow_nan=False)
    write_bytes(directory / RESULT, f"{text}\n".encode())


def _check_unused(path: Path, config: TrainConfig) -> None:
    """No one else's config.yaml is overwritten; a run killed before its first step left ours."""
    try:
        ours = not differences(load_config(path).resolved(), config)
    except InvalidInput:
        ours = not path.exists()
    if not ours:
        raise InvalidInput(
            f"{path}: is not the record of this run and would be overwritten; give another "
            "directory, or move the file"
        )


def check_same(directory: Path, config: TrainConfig) -> None:
    """Refuse a directory that holds a run of another config, every default written out."""
    if not (directory / CONFIG).exists():  # the checkpoint holds the config as well
        return
    held = load_config(directory / CONFIG).resolved()
    names = differences(held, config)
    if names:
        changes = ", ".join(
            f"{name}={getattr(held, name)} there, {getattr(config, name)} here" for name in names
        )
        raise InvalidInput(
            f"{directory}: holds a run of another config ({changes}); "
            f"resume with the config recorded there ({CONFIG}), or give another directory"
        )


def _result(content: dict[str, Any]) -> Result:
    known = {field.name for field in fields(Result)}
    result = Result(**{name: value for name, value in content.items() if name in known})
    return replace(
        result,
        train_loss=math.nan if result.train_loss is None else result.train_loss,
        sparsity_per_layer=tuple(result.sparsity_per_layer),
        sparsity_init=tuple(result.sparsity_init),
    )


def _write_table(path: Path, rows: Rows, columns: dict[str, str]) -> None:
    pa = require("pyarrow", "train")
    pq = require("pyarrow.parquet", "train")
    blank = dict.fromkeys(_LATER, math.nan)  # in rows that an old checkpoint brought along
    rows = [{**blank, **row} for row in rows]
    arrays = {
        name: np.array([row[name] for row in rows], dtype=kind) for name, kind in columns.items()
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def _read_table(path: Path, columns: dict[str, str]) -> Table:
    pq = require("pyarrow.parquet", "train")
    return _undamaged(path, lambda path: _columns(pq.read_table(path), columns))


def _columns(table: Any, columns: dict[str, str]) -> Table:
    blank = np.full(len(table), math.nan)
    held = set(table.column_names)
    return {name: blank if name in _LATER - held else table[name].to_numpy() for name in columns}


def _undamaged(path: Path, read: Callable[[Path], T]) -> T:
    """What ``read`` makes of a file; one line for all that libraries say of a damaged one."""
    try:
        return read(path)
    except FileNotFoundError:
        raise InvalidInput(f"{path}: no such file; run again into a new directory") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path}: is damaged ({type(error).__name__}: {error}); run again into a new directory"
        ) from None
