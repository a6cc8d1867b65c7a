"""How fast is the engine beside the best dense runtime? Every recorded table, one after the other.

Each subject is one run of `sparsefield bench`; its JSON goes to results/benchmarks/engine/. Shapes
end in -inner: they read activations, as inner layers do, so that the first layer is sparse too.
The machine should do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ALONE = ("--no-crossover", "--layers", "0")
SHAPES: dict[str, tuple[str, ...]] = {
    "dnn-100x300-inner": ALONE,
    "dnn-20x1024-inner": ("--layers", "3"),
    "dnn-4x4096-inner": ALONE,
    "dnn-100x300-inner-skip0.9": ALONE,
    "dnn-20x1024-inner-skip0.9": ALONE,
    "dnn-100x300": ALONE,
    "cnn-6x64x32-inner": ("--no-crossover", "--layers", "3", "--batch", "1,16"),
    "cnn-6x128x16-inner": (*ALONE, "--batch", "1,16"),
    "cnn-6x256x16-inner": (*ALONE, "--batch", "1,16"),
}
AGAIN = 0.95  # the sparsity at which the first three are timed once more
RIVALS = "eager,channels_last,compile,onnxruntime,embedding_bag,csr,engine"


def record(name: str, flags: Sequence[str], folder: Path, *, label: str) -> None:
    """One run of the command; its JSON, and its picture beside."""
    print(f"== {label}", flush=True)
    command = [sys.executable, "-m", "sparsefield", "bench", name, "--json", "--rivals", RIVALS]
    picture = ["--out", str(folder / f"{label}.svg")] if "--no-crossover" not in flags else []
    done = subprocess.run([*command, *picture, *flags], check=True, stdout=subprocess.PIPE)
    (folder / f"{label}.json").write_bytes(done.stdout)


def table(folder: Path) -> str:
    """Every recorded network: best dense and the engine in ms, and the speed-up, by batch."""
    lines = [
        "| network | batch | zeros | best dense, ms | engine, ms | speed-up (quartiles) | "
        "of 1/(1-s) |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("*.json"), key=_order):
        result = json.loads(path.read_text())
        lines += [_line(path.stem, result, batch) for batch in result["batches"]]
    return "\n".join(lines)


def _order(path: Path) -> tuple[bool, int, str]:
    labels = [*SHAPES, *(f"{name}-s{AGAIN}" for name in list(SHAPES)[:3])]
    return path.stem not in labels, labels.index(path.stem) if path.stem in labels else 0, path.stem


def _line(label: str, result: dict[str, Any], batch: int) -> str:
    rows = [row for row in result["rows"] if row["batch"] == batch and row["status"] == "timed"]
    dense = min((row for row in rows if row["dense"]), key=lambda row: row["median_s"])
    (engine,) = (row for row in rows if row["contender"] == "engine")
    low, high = engine["speedup_quartiles"]
    cells = [
        label,
        str(batch),
        f"{100 * result['sparsity']:.1f} %",
        f"{1e3 * dense['median_s']:.3g} ({dense['contender']})",
        f"{1e3 * engine['median_s']:.3g}",
        f"{engine['speedup']:.2f}x ({low:.2f} to {high:.2f})",
        f"{100 * engine['realised']:.0f} %",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/engine"))
    parser.add_argument("--seconds", type=float, default=2.0, help="for each rival and batch")
    parser.add_argument("--only", nargs="*", help="some of the labels")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    runs = [(name, name, flags) for name, flags in SHAPES.items()]
    again = (*ALONE, "--sparsity", str(AGAIN))
    runs += [(f"{name}-s{AGAIN}", name, again) for name in list(SHAPES)[:3]]
    for label, name, flags in runs:
        if not given.only or label in given.only:
            timed = (*flags, "--seconds", str(given.seconds))
            record(name, timed, given.out, label=label)
    print(table(given.out))


if __name__ == "__main__":
    main()
