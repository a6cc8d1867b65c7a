"""How long does the papers' own experiment take on lists, and what comes of it?

100 layers of 300 without a skip, MNIST, s = 0.9, q* = 4, clip 1.1; SGD at 1e-4 without momentum,
batch 128, 200 epochs. One process, two threads. The same call again goes on where it was; minutes
are those of all parts together, with checkpoints and evaluations. The machine should do nothing
else meanwhile. MNIST is found as everywhere: SPARSEFIELD_DATA, or the hub.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from timing import record

from sparsefield.train import Run, TrainConfig, read_run, train

PER_EPOCH = 468  # batches of 128 in MNIST's 60,000 images
RECIPE = {
    **{"data": "mnist", "depth": 100, "width": 300, "sparsity": 0.9, "q": 4.0, "clip": 1.1},
    **{"optimizer": "sgd", "lr": 1e-4, "momentum": 0.0, "schedule": "constant", "warmup": 0.0},
    **{"batch": 128, "epochs": 200, "monitor_every": PER_EPOCH, "log_every": PER_EPOCH},
    **{"engine": "sparse", "threads": 2, "device": "cpu"},
}


def by_epoch(run: Run) -> list[dict[str, Any]]:
    """Loss, accuracy and minutes at the end of each epoch, and zeros of a batch at its beginning.

    ``dead`` are units that are zero for the whole batch.
    """
    rows = []
    for index, epoch in enumerate(run.metrics["epoch"].tolist()):
        begun = run.layers["step"] == (epoch - 1) * PER_EPOCH
        rows.append(
            {
                "epoch": epoch,
                "train_loss": float(run.metrics["loss"][index]),
                "test_accuracy": float(run.metrics["test_accuracy"][index]),
                "minutes": float(run.metrics["seconds"][index]) / 60,
                "zeros": float(np.mean(run.layers["sparsity"][begun])),
                "dead": float(np.mean(run.layers["dead"][begun])),
            }
        )
    return rows


def main() -> None:
    """Make the run, or go on with it, and write its epochs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/papers_recipe"))
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/papers_recipe.json"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="end early, to try this out")
    given = parser.parse_args()
    config = TrainConfig(**RECIPE, seed=given.seed, steps=given.steps)
    result = train(config, out=given.run, resume=True)
    summary = {
        "minutes": result.seconds / 60,
        "test_accuracy": result.test_accuracy,
        "zeros_init": float(np.mean(result.sparsity_init)),
        "zeros_end": result.sparsity_mean,
        "ran": result.engine,
        "config": config.model_dump(mode="json"),
    }
    epochs = by_epoch(read_run(given.run))
    record(given.out, "The papers' recipe on lists, 2 threads", [summary, *epochs])


if __name__ == "__main__":
    main()
