"""What the results of runs hold for a record: measures, and what made them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sparsefield.train import Result

ABBREVIATED = 12  # letters of a digest or a commit
_RESULT = ("test_accuracy", "validation_accuracy", "train_loss", "failed", "reason", "seconds")


def of_result(result: Result) -> dict[str, Any]:
    """The measures that the result of a run holds."""
    cut = result.threshold or {}
    return {
        **{name: getattr(result, name) for name in _RESULT},
        "dense_accuracy": cut.get("before"),
        "cut_accuracy": cut.get("after"),
        "steps_made": result.steps,
        "zeros_init": float(np.mean(result.sparsity_init)),
        "zeros_end": result.sparsity_mean,
        "zeros_end_last": result.sparsity_per_layer[-1],
    }


def made_of(results: Sequence[Result]) -> dict[str, Any]:
    """What made these runs: several values where they differ; their seconds one by one."""
    return {
        "commits": distinct(result.commit for result in results if result.commit),
        "versions": _by_name([result.versions for result in results]),
        "hardware": _by_name([result.hardware for result in results]),
        "seconds": round(math.fsum(result.seconds for result in results), 1),
    }


def provenance(made: Mapping[str, Any]) -> dict[str, str]:
    """Commit, versions and hardware of runs; several where the runs differ."""
    commits = ", ".join(one[:ABBREVIATED] for one in made["commits"])
    named = {**made["versions"], **made["hardware"]}
    return {"commit": commits or "not recorded", **{k: ", ".join(v) for k, v in named.items()}}


def _by_name(tables: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: distinct(table[name] for table in tables if name in table) for name in names}


def distinct(values: Iterable[Any]) -> list[str]:
    """The values as text, each once, in their order."""
    return list(dict.fromkeys("none" if value is None else str(value) for value in values))
