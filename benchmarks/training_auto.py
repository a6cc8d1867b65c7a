"""Where lists do not pay, is `--engine auto` as fast as dense: at 0 to 50 % zeros, by shape?

A run of so many steps, its measuring and the making of its engines included, beside the same steps
without any of it. Steps are taken in turn, so that both see the same machine. ReLU networks whose
biases are quantiles of what the batch gives them, so that each unit has this share of zeros; SGD,
the update of PyTorch (fused) for the dense one, of the engine for auto, as `train` has it. One step
of dense in the middle of the other's measuring finds other weights in the caches: both do.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from timing import record
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from training_step import DENSE_BATCH, IMAGE_BATCH, IMAGES, SHAPES

from sparsefield import CNN, DNN, solve
from sparsefield.engine.choosing import ways_for
from sparsefield.engine.ways import Ways
from sparsefield.nn.networks import carry

ZEROS = (0.0, 0.25, 0.5)
UNCHOSEN = 60  # steps are enough where dense is taken without measuring
POINT = solve("relu", q=1.0)


@torch.no_grad()
def made(shape: str, zeros: float) -> tuple[DNN | CNN, Tensor]:
    """A network of which each unit (a channel at all its pixels) has this share of zeros."""
    generator = torch.Generator().manual_seed(0)
    if shape in SHAPES:
        depth, width, skip = SHAPES[shape]
        model: DNN | CNN = DNN(width, width, depth, 10, POINT, skip=skip, generator=generator)
        x = torch.randn(DENSE_BATCH, width, generator=generator)
    else:
        depth, width, skip, side = IMAGES[shape]
        model = CNN(3, width, depth, 10, POINT, skip=skip, generator=generator)
        x = torch.randn(IMAGE_BATCH, 3, side, side, generator=generator)
    h = x
    for index, layer in enumerate(model.layers):
        bias = layer.bias
        assert isinstance(bias, nn.Parameter)
        bias.zero_()
        update = layer(torch.relu(h) if index else h)
        skip = model.skip if index and update.shape == h.shape else 0.0
        h = carry(h, update, skip)
        units = h.transpose(0, 1).flatten(1)
        low = units.quantile(zeros, dim=1) if zeros else units.amin(1) - 0.01
        bias.sub_(low / (1.0 - skip) ** 0.5)
        h = h - low.view(-1, *[1] * (h.dim() - 2))
    return model, x


def auto(model: nn.Module, zeros: float, steps: int) -> tuple[Any, Ways]:
    """A step of a run that chooses as it goes, made as ``train`` makes it."""
    ways = Ways(model, "auto", total=steps, note=lambda _: None)
    whole = ways.whole
    assert whole is not None
    optimizer = whole.optimizer(torch.optim.SGD, lr=1e-6)
    ways.updated_by(optimizer)
    ways.look(0, [zeros] * len(whole.on_lists))

    def step(number: int, x: Tensor, y: Tensor) -> None:
        begun = time.perf_counter()
        forward = ways.take(number, seen=False)
        optimizer.zero_grad()
        cross_entropy(forward(x), y).backward()
        optimizer.step()
        ways.took(number, time.perf_counter() - begun)

    return step, ways


def compared(shape: str, zeros: float, steps: int) -> dict[str, Any]:
    """Seconds of all steps by both."""
    model, x = made(shape, zeros)
    y = torch.randint(10, (len(x),), generator=torch.Generator().manual_seed(1))
    twin = copy.deepcopy(model)
    sgd = torch.optim.SGD(twin.parameters(), lr=1e-6, fused=True)
    for _ in range(3):  # warm-up: threads and pages, neither's own
        twin(x).sum().backward()
    begun = time.perf_counter()
    step, ways = auto(model, zeros, steps)
    setup = time.perf_counter() - begun
    taken: dict[str, list[float]] = {"auto": [], "dense": []}
    for number in range(steps):
        begun = time.perf_counter()
        step(number, x, y)
        taken["auto"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        sgd.zero_grad()
        cross_entropy(twin(x), y).backward()
        sgd.step()
        taken["dense"].append(time.perf_counter() - begun)
    settled = steps // 2
    return {
        "shape": shape,
        "zeros": zeros,
        "steps": steps,
        "setup_s": setup,
        "seconds": {name: sum(values) for name, values in taken.items()},
        "dense_over_auto": sum(taken["dense"]) / (setup + sum(taken["auto"])),
        "dense_over_auto_settled": median(taken["dense"][settled:])
        / median(taken["auto"][settled:]),
        "told": ways.told(steps),
    }


def main() -> None:
    """Every shape at each share of zeros."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/training_auto.json"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--shapes", nargs="*", default=[*SHAPES, *IMAGES])
    parser.add_argument("--zeros", nargs="*", type=float, default=ZEROS)
    given = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(given.threads)
    rows = []
    for shape in given.shapes:
        for zeros in given.zeros:
            steps = given.steps if len(ways_for("a", [zeros])) > 1 else UNCHOSEN
            rows.append(compared(shape, zeros, steps))
            print(json.dumps(rows[-1]), flush=True)
    record(given.out, f"--engine auto where lists do not pay, {given.threads} threads", rows)


if __name__ == "__main__":
    main()
