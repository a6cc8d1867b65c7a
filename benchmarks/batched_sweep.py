"""How much faster is a group of runs trained as one network than the same runs one by one?

Whole optimiser steps of eight networks that differ in their seeds, both ways in one process, in
turn, on one thread; steps measured by the monitor, evaluation and records are left out: they take
the same time both ways. One thread is what a sweep on local processes gives each of them. More
threads (THREADS) only on an idle machine: where others compute, threads that wait for each other
say nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timing import in_turn, out_path, record, row
from training_loop import images

from sparsefield.train import TrainConfig
from sparsefield.train.faster import rivals
from sparsefield.train.runtime import start_runtime

MEMBERS = 8
THREADS = (1,)
WIDTHS = (100, 300)
OPTIMIZERS = ("adam", "sgd")
REPEATS = 5


def compared(width: int, optimizer: str, skip: float, threads: int) -> dict[str, Any]:
    """Seconds of a step of all members, both ways."""
    torch.set_num_threads(threads)
    config = TrainConfig(width=width, optimizer=optimizer, skip=skip, device="cpu", steps=10_000)
    both = rivals(config, MEMBERS, images(1, 28), start_runtime(config))
    seconds = in_turn(
        {"one_by_one": both.one_by_one, "together": both.together},
        repeats=REPEATS,
        inner=300 // width,
    )
    return row(
        seconds,
        against="one_by_one",
        config=f"dnn {config.depth} x {width}, skip {skip:g}, {optimizer}",
        members=MEMBERS,
        batch=config.batch,
        threads=threads,
    )


def main() -> None:
    """Compare every size."""
    path: Path = out_path("batched_sweep.json")
    rows = [
        compared(width, optimizer, 0.9, threads)
        for threads in THREADS
        for width in WIDTHS
        for optimizer in OPTIMIZERS
    ]
    record(path, "one batched network of eight runs against the eight one by one", rows)


if __name__ == "__main__":
    main()
