"""How long does one call take where real calls are: batch 1 to 128, warm, cold, beside other work?

Every rival is timed the same way, in rounds and in another order in each: in a loop; after 10 ms
of sleep, when caches and threads have gone cold; after other work of PyTorch; and in a loop while
another process keeps one core busy. Inputs change from call to call. The load of the machine
before each measurement is recorded; but for the last way it should do nothing else.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import torch
from timing import record, row
from torch import Tensor, nn

from sparsefield import solve
from sparsefield.bench.rivals import RIVALS, Rival
from sparsefield.bench.shapes import named_shape

SHAPES = ("dnn-80x300-inner", "dnn-100x300-inner", "dnn-20x1024-inner")
BATCHES = (1, 8, 32, 50, 64, 128)
PAUSE_S = 0.01
LOOP = 5  # calls in a row, of which the median is a round's
INPUTS = 16  # batches that calls take in turn
DENSE = "eager,compile,onnxruntime,openvino"
Call = Callable[[Tensor], object]


@contextmanager
def busy() -> Iterator[None]:
    """Another process that never rests."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def seconds(call: Call, x: Tensor) -> float:
    """Of one call."""
    start = time.perf_counter()
    call(x)
    return time.perf_counter() - start


def in_a_loop(call: Call, inputs: list[Tensor]) -> float:
    """Of one call among others."""
    for x in inputs[:2]:
        call(x)
    return median(seconds(call, x) for x in inputs[2 : 2 + LOOP])


def after_a_pause(call: Call, inputs: list[Tensor]) -> float:
    """Of a call after others, and a pause."""
    for x in inputs[:2]:
        call(x)
    time.sleep(PAUSE_S)
    return seconds(call, inputs[2])


def after_other_work(call: Call, inputs: list[Tensor]) -> float:
    """Of a call after others, and a product of PyTorch."""
    for x in inputs[:2]:
        call(x)
    _ = OTHER @ OTHER
    return seconds(call, inputs[2])


OTHER = torch.ones(400, 400)
WAYS: dict[str, Callable[[Call, list[Tensor]], float]] = {
    "in a loop": in_a_loop,
    "after a pause": after_a_pause,
    "after other work": after_other_work,
    "beside a busy process": in_a_loop,
}


def rounds(
    calls: dict[str, Call], inputs: list[Tensor], way: str, *, count: int
) -> dict[str, list[float]]:
    """Seconds of each rival, one value a round."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(count):
        turned = inputs[number % INPUTS :] + inputs[: number % INPUTS]
        for name in Random(number).sample(list(calls), len(calls)):
            taken[name].append(WAYS[way](calls[name], turned))
    return taken


def timed(
    calls: dict[str, Call], inputs: list[Tensor], way: str, *, count: int, **labels: Any
) -> dict[str, Any]:
    """A row of the table: every rival's times, and how much faster the engine is than the best."""
    load = os.getloadavg()[0]
    if way == "beside a busy process":
        with busy():
            taken = rounds(calls, inputs, way, count=count)
    else:
        taken = rounds(calls, inputs, way, count=count)
    table = row(taken, against="engine", way=way, load=round(load, 2), **labels)
    dense = [name for name in calls if name != "engine"]
    best = min(dense, key=lambda name: table[name]["median_s"])
    table |= {"best_dense": best, "speedup": table[best]["time_vs_engine"]}
    return table


def made(rivals: list[Rival], model: nn.Module, inputs: list[Tensor]) -> dict[str, Call]:
    """The rivals that this machine has, warmed up."""
    calls: dict[str, Call] = {}
    for rival in rivals:
        try:
            call = rival.make(model, inputs[0])
        except Exception as error:  # a runtime that is not installed, or cannot take the model
            print(f"{rival.name}: {error}", file=sys.stderr)
            continue
        for x in inputs[:3]:
            call(x)
        calls[rival.name] = call
    return calls


def line(table: dict[str, Any]) -> str:
    """A row for people."""
    best, engine = table[table["best_dense"]], table["engine"]
    return (
        f"{table['shape']:<20}{table['batch']:>5}  {table['way']:<22}load {table['load']:>5}"
        f"{1e3 * best['median_s']:>9.3f} ms {table['best_dense']:<12}"
        f"{1e3 * engine['median_s']:>9.3f} ms engine {table['speedup']:>6.2f}x"
    )


def main() -> None:
    """Every shape, batch and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/calls.json"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--rivals", default=DENSE)
    parser.add_argument("--shapes", nargs="*", default=SHAPES)
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rivals = [RIVALS[name] for name in (*given.rivals.split(","), "engine")]
    point, rows = solve("crelu", sparsity=0.9, q=4.0, clip=1.1), []
    for name in given.shapes:
        shape = named_shape(name)
        model = shape.build(point)
        for batch in given.batches:
            inputs = list(shape.random_inputs(INPUTS * batch, point).split(batch))
            with torch.no_grad():
                calls = made(rivals, model, inputs)
                for way in WAYS:
                    labels = {"shape": name, "batch": batch}
                    rows.append(timed(calls, inputs, way, count=given.rounds, **labels))
                    print(line(rows[-1]), flush=True)
    question = f"One call in a loop, cold, and beside others, {given.threads} threads"
    record(given.out, question, rows)


if __name__ == "__main__":
    main()
