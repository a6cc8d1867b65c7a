"""Does a trained network answer the same through the engine, how fast, and at what energy?

For each run directory: accuracy on the whole test set by the model and by the engine, image by
image; times beside the rivals; bf16 and int8 weights; the energy ledger. One JSON file each.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from timing import record

import sparsefield as sf
from sparsefield.bench import bench, named_rivals
from sparsefield.data import load
from sparsefield.energy import ledger
from sparsefield.engine import rounding
from sparsefield.train import load_config, load_model

RIVALS = ("eager", "channels_last", "compile", "onnxruntime", "embedding_bag", "csr", "engine")


def answers(model: torch.nn.Module, x: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """Accuracy by the model and by the engine, and how the outputs differ."""
    engine = sf.accelerate(model, x[:128])
    with torch.no_grad():
        theirs = torch.cat([model(part) for part in x.split(500)])
        ours = torch.cat([engine(part) for part in x.split(500)])
        one_by_one = torch.cat([engine(part) for part in x[:1000].split(1)])
    decided = theirs.argmax(dim=1)
    return {
        "images": len(x),
        "accuracy_model": (decided == labels).float().mean().item(),
        "accuracy_engine": (ours.argmax(dim=1) == labels).float().mean().item(),
        "images_decided_otherwise": int((ours.argmax(dim=1) != decided).sum()),
        "of_1000_one_by_one": int((one_by_one.argmax(dim=1) != decided[:1000]).sum()),
        "largest_difference": (ours - theirs).abs().max().item(),
        "largest_output": theirs.abs().max().item(),
        "engine": repr(engine).splitlines(),
        "rounded": {
            storage: asdict(
                rounding(sf.accelerate(model, x[:1], storage=storage), model, x, labels)
            )
            for storage in ("bfloat16", "int8")
        },
    }


def examine(directory: Path, seconds: float) -> dict[str, Any]:
    """One trained network."""
    config = load_config(directory / "config.yaml")
    data = load(config.data, normalise=config.normalise)
    model = load_model(directory).eval()
    found = answers(model, data.test_x, data.test_y)
    times = bench(
        model,
        data.test_x,
        subject=directory.name,
        rivals=named_rivals(RIVALS),
        seconds=seconds,
        crossover=False,
        described=f"test images of {Path(config.data).name}",
        sparsity_target=config.sparsity,
    )
    print(times)
    books = {str(batch): ledger(model, data.test_x[:256], batch=batch) for batch in (1, 128)}
    print(books["1"])
    return {
        "run": directory.name,
        "config": json.loads(config.model_dump_json()) | {"data": Path(config.data).name},
        "answers": found,
        "bench": times.to_dict(),
        "ledger": {batch: book.to_dict() for batch, book in books.items()},
    }


def table(folder: Path) -> str:
    """Every recorded network as a row."""
    lines = [
        "| network | zeros | accuracy, model and engine | images decided otherwise | "
        "batch 1: engine, best dense | batch 128 | modelled energy, batch 1 (45 nm) |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("*.json")):
        (row,) = json.loads(path.read_text())["rows"]
        lines.append(_line(row))
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    said, ledger_1 = row["answers"], row["ledger"]["1"]["modelled"]
    dense, sparse = (1e-6 * ledger_1[way]["total_picojoules"] for way in ("dense", "sparse"))
    cells = [
        row["run"],
        f"{100 * row['bench']['sparsity']:.1f} %",
        f"{100 * said['accuracy_model']:.2f} %, {100 * said['accuracy_engine']:.2f} %",
        f"{said['images_decided_otherwise']} of {said['images']}",
        *(_times(row["bench"], batch) for batch in row["bench"]["batches"]),
        f"{dense:.0f} to {sparse:.0f} µJ ({dense / sparse:.1f}x)",
    ]
    return f"| {' | '.join(cells)} |"


def _times(result: dict[str, Any], batch: int) -> str:
    rows = [row for row in result["rows"] if row["batch"] == batch and row["status"] == "timed"]
    dense = min(row["median_s"] for row in rows if row["dense"])
    (engine,) = (row for row in rows if row["contender"] == "engine")
    return f"{1e3 * engine['median_s']:.3g}, {1e3 * dense:.3g} ms: {engine['speedup']:.2f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="*", help="directories of `sparsefield train`")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=Path("results/trained"))
    given = parser.parse_args()
    for directory in given.runs:
        record(
            given.out / f"{directory.name}.json", __doc__ or "", [examine(directory, given.seconds)]
        )
    print(table(given.out))


if __name__ == "__main__":
    main()
