"""Short training runs over arms, rates and seeds: one row each, kept so that a study can resume."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sparsefield.train import TrainConfig, train
from sparsefield.train.environment import hardware, versions

Arm = Mapping[str, Any]


def run(arm: Arm, common: Mapping[str, Any]) -> dict[str, Any]:
    """Train one network; its accuracy, zeros and whether it failed."""
    config = TrainConfig(**common, **arm, monitor_every=0, checkpoint_every=1e9).resolved()
    with tempfile.TemporaryDirectory() as folder:
        result = train(config, out=Path(folder) / "run", progress=False)
    kept = ("test_accuracy", "train_loss", "sparsity_mean", "failed", "steps", "seconds")
    solved = {"clip": config.clip, "chi1": config.chi1}
    return {"arm": dict(arm), "solved": solved, **{key: getattr(result, key) for key in kept}}


def study(path: Path, question: str, arms: Iterable[Arm], common: Mapping[str, Any]) -> None:
    """Train every arm that ``path`` does not hold yet, writing after each."""
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    done = {json.dumps(row["arm"], sort_keys=True) for row in rows}
    for arm in arms:
        if json.dumps(dict(arm), sort_keys=True) in done:
            continue
        rows.append(run(arm, common))
        print(json.dumps(rows[-1]), flush=True)
        content = {"question": question, "common": dict(common), "hardware": hardware()}
        content |= {"versions": versions(), "rows": rows}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")


def table(path: Path, by: tuple[str, ...]) -> str:
    """Mean, standard deviation and n of the accuracy (per cent) by the keys ``by`` of the arm."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in json.loads(path.read_text())["rows"]:
        groups.setdefault(tuple(row["arm"].get(key) for key in by), []).append(row)
    lines = [f"| {' | '.join([*by, 'accuracy %', 'sd', 'n', 'failed', 'zeros'])} |"]
    lines.append("|" + "---|" * (len(by) + 5))
    for key, rows in groups.items():
        values = [100.0 * row["test_accuracy"] for row in rows]
        deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
        zeros = statistics.mean(row["sparsity_mean"] for row in rows)
        cells = [*map(str, key), f"{statistics.mean(values):.1f}", f"{deviation:.1f}"]
        cells += [str(len(rows)), str(sum(row["failed"] for row in rows)), f"{zeros:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
