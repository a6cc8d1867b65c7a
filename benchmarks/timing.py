"""Medians of rivals timed in turn, and the record of what they ran on."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparsefield.train.environment import hardware, versions


def in_turn(
    rivals: dict[str, Callable[[], object]], *, repeats: int, inner: int = 1, warm_up: int = 3
) -> dict[str, list[float]]:
    """Seconds per call of each rival, A B A B ..., warm-up apart."""
    for rival in rivals.values():
        for _ in range(warm_up):
            rival()
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, rival in rivals.items():
            start = time.perf_counter()
            for _ in range(inner):
                rival()
            seconds[name].append((time.perf_counter() - start) / inner)
    return seconds


def row(seconds: dict[str, list[float]], *, against: str, **labels: Any) -> dict[str, Any]:
    """Median and quartiles of each rival, and the median of its time over that of ``against``."""
    table: dict[str, Any] = dict(labels)
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        table[name] = {"median_s": median, "quartiles_s": [low, high], "n": len(values)}
        if name != against:
            ratios = [a / b for a, b in zip(values, seconds[against], strict=True)]
            table[name][f"time_vs_{against}"] = statistics.median(ratios)
    return table


def out_path(default: str) -> Path:
    """The --out flag, by default a file in results/benchmarks."""
    parser = argparse.ArgumentParser(description="Prints the table and writes it as JSON.")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks") / default)
    path: Path = parser.parse_args().out
    return path


def record(path: Path, question: str, rows: list[dict[str, Any]]) -> None:
    """Print and write the rows with hardware, threads and versions."""
    content = {"question": question, "hardware": hardware(), "versions": versions(), "rows": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(question, f"\n{content['hardware']}\n{content['versions']}")
    for line in rows:
        print(json.dumps(line))
    print(f"written to {path}")
