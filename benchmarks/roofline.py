"""What bounds the engine: multiply-adds, or bytes? Recorded times beside what the machine can do.

A sparse product reads a row of weights for every active input of every sample: 4 bytes for each
multiply-add, at best from the second-level cache. And it reads each row that a batch needs once
from far away. The measured time of a whole network stands between the larger of these two times
(if they overlap perfectly) and their sum (if not at all), or near it: a cache larger than the
model lets it be faster than main memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from timing import record

from sparsefield.pictures.plotting import INK, QUIET, styled
from sparsefield.pictures.saving import save_figure

SOURCE = Path(__file__).with_suffix(".cpp")


def machine(threads: int) -> dict[str, float]:
    """Peak multiply-adds and bandwidths with so many threads, by the program beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "roofline"
        flags = ["-O3", "-march=native", "-fopenmp", "-o", str(program), str(SOURCE)]
        subprocess.run(["g++", *flags], check=True)
        done = subprocess.run([program, str(threads)], check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def bounds(
    label: str, result: dict[str, Any], batch: int, peak: dict[str, float]
) -> dict[str, Any]:
    """Measured seconds of one network and batch, and what bounds them."""
    network = label.split("-")[1]
    depth, width = (int(size) for size in network.split("x"))
    macs = batch * (depth * width**2 + 10 * width)
    active = macs / result["ceiling"]
    density = 1.0 / result["ceiling"]
    needed = 1.0 - (1.0 - density) ** batch  # rows that at least one sample of the batch needs
    timed = {
        row["contender"]: row
        for row in result["rows"]
        if row["batch"] == batch and row["status"] == "timed"
    }
    dense = min(row["median_s"] for row in timed.values() if row["dense"])
    far = 4.0 * macs / batch * needed / peak["far_bytes"]
    rows = 4.0 * active / peak["second_bytes"]
    return {
        "subject": label,
        "batch": batch,
        "sparsity": result["sparsity"],
        "engine_s": timed["engine"]["median_s"],
        "best_dense_s": dense,
        "speedup": timed["engine"]["speedup"],
        "arithmetic_s": 2.0 * active / peak["multiply_add_flops"],
        "rows_from_second_level_s": rows,
        "rows_from_afar_s": far,
        "if_overlapped_s": max(rows, far),
        "if_not_s": rows + far,
        "dense_arithmetic_s": 2.0 * macs / peak["multiply_add_flops"],
    }


def draw(lines: list[dict[str, Any]]) -> Any:
    """Measured times and their bounds, one row for each network and batch."""

    def build() -> Any:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 0.42 * len(lines) + 1.3), layout="constrained")
        axes = figure.subplots()
        for y, line in enumerate(reversed(lines)):
            low, high = 1e3 * line["if_overlapped_s"], 1e3 * line["if_not_s"]
            axes.barh(y, high - low, left=low, height=0.5, color="#56B4E9", alpha=0.6)
            axes.plot(1e3 * line["arithmetic_s"], y, "|", color=QUIET, ms=9, mew=1.5)
            axes.plot(1e3 * line["dense_arithmetic_s"], y, "|", color="#D55E00", ms=9, mew=1.5)
            axes.plot(1e3 * line["best_dense_s"], y, "s", color="#D55E00", ms=5)
            axes.plot(1e3 * line["engine_s"], y, "o", color="#0072B2", ms=6)
            axes.annotate(
                f"{line['speedup']:.1f}x",
                (1e3 * line["best_dense_s"], y),
                (7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=INK,
            )
        names = [f"{x['subject'].removeprefix('dnn-')}, batch {x['batch']}" for x in lines]
        axes.set_yticks(range(len(lines)), [name.replace("-inner", "") for name in names[::-1]])
        axes.set_xscale("log")
        axes.margins(x=0.12)
        axes.set_xlabel("ms a call (log)")
        axes.set_title(
            "circle: engine; blue bar: its bytes alone, from perfectly overlapped to not at all;\n"
            "grey: its arithmetic alone. square: best dense, with the speed-up; orange: dense\n"
            "arithmetic alone"
        )
        return figure

    return styled(build)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/benchmarks/engine"))
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/roofline.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/roofline.svg"))
    given = parser.parse_args()
    peak = machine(torch.get_num_threads())
    lines = [
        bounds(path.stem, result, batch, peak)
        for path in sorted(given.results.glob("dnn-*-inner*.json"))
        for result in [json.loads(path.read_text())]
        for batch in result["batches"]
    ]
    record(given.out, "What bounds the engine?", [{"machine": peak}, *lines])
    save_figure(draw(lines), given.figure)
    print(f"drawn to {given.figure}")


if __name__ == "__main__":
    main()
