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

import numpy as np
import torch
from timing import record

from sparsefield.pictures.plotting import INK, house_style, new_figure
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


_MARKS = {  # by key: marker, colour, size, and what the key says
    "arithmetic_s": ("|", "#0072B2", 9, "engine, arithmetic alone"),
    "engine_s": ("o", "#0072B2", 6, "engine, measured"),
    "dense_arithmetic_s": ("|", "#D55E00", 9, "dense, arithmetic alone"),
    "best_dense_s": ("s", "#D55E00", 5, "best dense, measured; speed-up"),
}


@house_style
def draw(lines: list[dict[str, Any]]) -> Any:
    """Measured times and their bounds, one row for each network and batch."""
    figure = new_figure(7.0, 0.3 * len(lines) + 1.5)
    axes = figure.subplots()
    rows = range(len(lines))
    low, high = (np.array([1e3 * x[key] for x in lines]) for key in ("if_overlapped_s", "if_not_s"))
    bytes_alone = "engine, bytes alone: overlapped to not"
    axes.barh(rows, high - low, left=low, height=0.5, color="#56B4E9", alpha=0.6, label=bytes_alone)
    for key, (marker, colour, size, label) in _MARKS.items():
        times = [1e3 * line[key] for line in lines]
        axes.plot(times, rows, marker, ms=size, mew=1.5, color=colour, label=label)
    for row, line in enumerate(lines):
        at = (1e3 * line["best_dense_s"], row)
        text = f"{line['speedup']:.1f}x"
        axes.annotate(text, at, (7, 0), textcoords="offset points", va="center", fontsize=8)
    names = [x["subject"].removeprefix("dnn-").replace("-inner", "") for x in lines]
    labels = [f"{name}, batch {x['batch']}" for name, x in zip(names, lines, strict=True)]
    axes.set_yticks(rows, labels, color=INK)
    axes.set(xscale="log", xlabel="milliseconds a call", ylim=(len(lines) - 0.5, -0.5))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/benchmarks/engine"))
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/roofline.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/roofline.svg"))
    parser.add_argument(
        "--redraw", action="store_true", help="measure nothing: draw what is in OUT"
    )
    given = parser.parse_args()
    if given.redraw:
        lines = json.loads(given.out.read_text())["rows"][1:]
    else:
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
