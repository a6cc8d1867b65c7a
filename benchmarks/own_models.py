"""How fast is a model of one's own, its zeros skipped, beside the best dense way to run it?

A ResNet (pre-activation, widths 64, 128, 256, BatchNorm) on 32 x 32 images, and transformer
feed-forward blocks (LayerNorm, a residual sum) on 64 tokens, at 90 % zeros: inference at batch 1,
16 and 128, and a training step. Rivals take turns. The machine should do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import copy
import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timing import in_turn, record, row
from torch import Tensor, nn

import sparsefield as sf
from sparsefield.bench.rivals import RIVALS

POINT = sf.solve("crelu", sparsity=0.9, q=1.0, clip=1.1)  # norms give an activation q = 1
TOKENS, SIDE = 64, 32
DENSE = ("eager", "channels_last", "compile", "compile-frozen", "onnxruntime")
Step = Callable[[], object]


class Block(nn.Module):
    """norm, activation, convolution, twice, and what came before added to it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.phi1 = nn.BatchNorm2d(inputs), sf.activation(POINT)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2, self.phi2 = nn.BatchNorm2d(outputs), sf.activation(POINT)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.phi1(self.norm1(x)))
        return self.shortcut(x) + self.conv2(self.phi2(self.norm2(y)))


class ResNet(nn.Module):
    """Two blocks of each width."""

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        blocks, before = [], widths[0]
        for index, width in enumerate(widths):
            blocks += [Block(before, width, 1 + (index > 0)), Block(width, width, 1)]
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.phi = nn.BatchNorm2d(before), sf.activation(POINT)
        self.head = nn.Linear(before, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.phi(self.norm(self.blocks(self.stem(x))))
        return self.head(y.mean((2, 3)))


class FeedForward(nn.Module):
    """A transformer's feed-forward block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.phi = nn.LayerNorm(width), sf.activation(POINT)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        nn.init.normal_(self.up.weight, std=width**-0.5)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.phi(self.up(self.norm(x))))


def feed_forward(width: int) -> nn.Module:
    """Four blocks."""
    return nn.Sequential(*(FeedForward(width) for _ in range(4)))


SHAPES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "ResNet 64-128-256": (ResNet, (3, SIDE, SIDE)),
    "feed-forward 256-1024": (partial(feed_forward, 256), (TOKENS, 256)),
    "feed-forward 512-2048": (partial(feed_forward, 512), (TOKENS, 512)),
}


def task(shape: str, batch: int) -> tuple[nn.Module, Tensor]:
    """A model whose norms have seen data, and a batch for it."""
    torch.manual_seed(0)
    make, size = SHAPES[shape]
    model = make()
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = None  # the mean of all that it sees
    with torch.no_grad():
        for _ in range(10):
            model(torch.randn(16, *size))
    return model, torch.randn(batch, *size)


def zeros(model: nn.Module, x: Tensor) -> dict[str, float]:
    """The share of zeros that each activation gives."""
    found: dict[str, float] = {}

    def see(name: str, _: nn.Module, __: Any, y: Tensor) -> None:
        found[name] = float((y == 0).float().mean())

    modules = [(n, m) for n, m in model.named_modules() if isinstance(m, sf.nn.Activation)]
    hooks = [m.register_forward_hook(partial(see, name)) for name, m in modules]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return found


def inference(shape: str, batch: int, repeats: int, names: list[str]) -> dict[str, Any]:
    """Seconds of a call by every rival."""
    model, x = task(shape, batch)
    model.eval()
    shares = zeros(model, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fast = sf.accelerate(model, x, batches=[batch])
    calls: dict[str, Step] = {"lists": partial(fast, x)}
    for name in names:
        try:
            calls[name] = partial(RIVALS[name].make(copy.deepcopy(model), x), x)
        except Exception as error:
            print(f"{name}: {error}".splitlines()[0])
    with torch.inference_mode():
        expected = model(x)
        for name, call in calls.items():
            assert torch.allclose(call(), expected, rtol=1e-3, atol=1e-3), name  # type: ignore[arg-type]
        seconds = in_turn(calls, repeats=repeats)
    table = row(seconds, against="lists", shape=shape, batch=batch, what="inference")
    table["zeros"] = [min(shares.values()), max(shares.values())]
    table["engine"] = repr(fast).splitlines()
    return with_best(table, seconds)


def training(shape: str, batch: int, repeats: int, names: list[str]) -> dict[str, Any]:
    """Seconds of a step of SGD by every rival."""
    model, x = task(shape, batch)
    shares = zeros(copy.deepcopy(model), x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fast = sf.accelerate(copy.deepcopy(model), x, train=True)
    steps: dict[str, Step] = {
        "lists": step_of(fast, fast.optimizer(torch.optim.SGD, lr=1e-4), x),
        "eager": step_of(*own(model), x),
    }
    if "compile" in names:
        twin, optimizer = own(model)
        steps["compile"] = step_of(torch.compile(twin), optimizer, x)  # type: ignore[arg-type]
    seconds = in_turn(steps, repeats=repeats)
    table = row(seconds, against="lists", shape=shape, batch=batch, what="training step")
    table["zeros"] = [min(shares.values()), max(shares.values())]
    table["engine"] = repr(fast).splitlines()
    return with_best(table, seconds)


def own(model: nn.Module) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A copy of the model, and its optimiser."""
    twin = copy.deepcopy(model)
    return twin, torch.optim.SGD(twin.parameters(), lr=1e-4, fused=True)


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> Step:
    """One training step."""

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    return step


def with_best(table: dict[str, Any], seconds: dict[str, list[float]]) -> dict[str, Any]:
    """The row with the fastest dense rival, and how much faster lists are."""
    best = min((n for n in seconds if n != "lists"), key=lambda name: table[name]["median_s"])
    table["best_dense"] = best
    table["speedup"] = table[best]["median_s"] / table["lists"]["median_s"]
    return table


def main() -> None:
    """Compare every shape at every batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/own_models.json"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--shapes", nargs="*", default=[*SHAPES])
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 16, 128])
    parser.add_argument("--training-batch", type=int, default=16)
    parser.add_argument("--rivals", nargs="*", default=[*DENSE])
    given = parser.parse_args()
    torch.set_flush_denormal(True)  # before there are threads, which inherit it
    torch.set_num_threads(given.threads)
    rows = []
    for shape in given.shapes:
        for batch in given.batches:
            rows.append(inference(shape, batch, given.repeats, given.rivals))
            print(json.dumps(rows[-1]), flush=True)
        rows.append(training(shape, given.training_batch, given.repeats, given.rivals))
        print(json.dumps(rows[-1]), flush=True)
    question = f"Models of one's own at 90 % zeros, lists beside dense, {given.threads} threads"
    record(given.out, question, rows)


if __name__ == "__main__":
    main()
