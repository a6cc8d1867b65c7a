"""How much faster is a training step on lists than PyTorch's best, eager or compiled?

A step is forward, backward and update of a network at its initialisation, on random images: a DNN
with batch 128, or a CNN of 3x3 convolutions with batch 16.
Rivals take their steps in turn, each on a copy of the model of its own; denormals are flushed for
all of them, without which PyTorch's backward of a deep plain network takes many times as long. The
machine should do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import in_turn, record, row
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparsefield import CNN, DNN, solve
from sparsefield.engine.training import TrainingEngine

DENSE_BATCH, IMAGE_BATCH = 128, 16
SHAPES = {
    "100 x 300": (100, 300, 0.0),
    "100 x 300, skip 0.9": (100, 300, 0.9),
    "60 x 260": (60, 260, 0.0),
    "20 x 1024": (20, 1024, 0.0),
    "4 x 4096": (4, 4096, 0.0),
}
IMAGES = {  # depth, channels, skip, side of the image
    "CNN 10 x 64, 32 x 32": (10, 64, 0.0, 32),
    "CNN 10 x 64, 32 x 32, skip 0.9": (10, 64, 0.9, 32),
    "CNN 10 x 128, 16 x 16": (10, 128, 0.0, 16),
    "CNN 10 x 256, 8 x 8": (10, 256, 0.0, 8),
}
RULES: dict[str, tuple[type[torch.optim.Optimizer], float]] = {
    "SGD": (torch.optim.SGD, 1e-4),
    "Adam": (torch.optim.Adam, 1e-5),
}
Step = Callable[[], object]


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Step:
    """One training step."""

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def rivals(model: nn.Module, rule: str, x: Tensor, y: Tensor, *, compiled: bool) -> dict[str, Step]:
    """Every way to take the same step; the best dense one is compared with."""
    kind, rate = RULES[rule]
    found: dict[str, Step] = {}

    def dense(name: str, module: nn.Module, **options: Any) -> None:
        found[name] = step_of(module, kind(module.parameters(), lr=rate, **options), x, y)

    lists = TrainingEngine(copy.deepcopy(model))
    found["lists, fused"] = step_of(lists, lists.optimizer(kind, lr=rate), x, y)
    dense("lists, torch's fused", TrainingEngine(copy.deepcopy(model)), fused=True)
    dense("eager, foreach", copy.deepcopy(model), foreach=True)
    dense("eager, fused", copy.deepcopy(model), fused=True)
    if x.dim() == 4:
        last = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        dense("eager, channels last, fused", last, fused=True)
    if compiled:
        twin = copy.deepcopy(model)
        whole: nn.Module = torch.compile(twin)  # type: ignore[assignment]
        found["compiled, fused"] = step_of(
            whole, kind(twin.parameters(), lr=rate, fused=True), x, y
        )
    return found


def task(shape: str, sparsity: float) -> tuple[nn.Module, Tensor]:
    """A network and a batch for it."""
    generator = torch.Generator().manual_seed(0)
    point = solve("crelu", sparsity=sparsity, q=4.0, clip=1.1)
    if shape in SHAPES:
        depth, width, skip = SHAPES[shape]
        model: nn.Module = DNN(width, width, depth, 10, point, skip=skip, generator=generator)
        return model, torch.randn(DENSE_BATCH, width, generator=generator)
    depth, width, skip, side = IMAGES[shape]
    model = CNN(3, width, depth, 10, point, skip=skip, generator=generator)
    return model, torch.randn(IMAGE_BATCH, 3, side, side, generator=generator)


def compared(
    shape: str, sparsity: float, rule: str, *, repeats: int, compiled: bool
) -> dict[str, Any]:
    """Seconds of a step by every rival, and how much faster lists are than the best dense."""
    model, x = task(shape, sparsity)
    y = torch.randint(10, (len(x),), generator=torch.Generator().manual_seed(1))
    seconds = in_turn(rivals(model, rule, x, y, compiled=compiled), repeats=repeats)
    table = row(seconds, against="lists, fused", shape=shape, sparsity=sparsity, optimizer=rule)
    dense = [name for name in seconds if "lists" not in name]
    best = min(dense, key=lambda name: table[name]["median_s"])
    table["best_dense"] = best
    table["speedup"] = table[best]["median_s"] / table["lists, fused"]["median_s"]
    table["speedup_with_torchs_update"] = (
        table[best]["median_s"] / table["lists, torch's fused"]["median_s"]
    )
    return table


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown, for a page."""
    lines = [
        "| network | zeros | optimiser | best dense, ms | on lists, ms | speed-up |"
        " with torch's own update |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        dense, lists = (1e3 * one[name]["median_s"] for name in (one["best_dense"], "lists, fused"))
        lines.append(
            f"| {one['shape']} | {one['sparsity']:.0%} | {one['optimizer']} "
            f"| {dense:.1f} ({one['best_dense']}) | {lists:.1f} "
            f"| {one['speedup']:.1f}x | {one['speedup_with_torchs_update']:.1f}x |"
        )
    return "\n".join(lines)


def main() -> None:
    """Compare every shape, sparsity and optimiser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/training_step.json"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--shapes", nargs="*", default=[*SHAPES, *IMAGES])
    parser.add_argument("--sparsities", nargs="*", type=float, default=[0.9, 0.95])
    parser.add_argument("--no-compile", action="store_true")
    given = parser.parse_args()
    torch.set_flush_denormal(True)  # before there are threads, which inherit it
    torch.set_num_threads(given.threads)
    rows = []
    for shape in given.shapes:
        for sparsity in given.sparsities:
            for rule in RULES:
                compiled = not given.no_compile
                rows.append(
                    compared(shape, sparsity, rule, repeats=given.repeats, compiled=compiled)
                )
                print(json.dumps(rows[-1]), flush=True)
    question = f"A training step on lists against the best dense, {given.threads} threads"
    record(given.out, question, rows)


if __name__ == "__main__":
    main()
