"""What does the monitor add to a training step at its default interval? (target: under 3 %)

A measured step is timed against one that is not, in turn. At the default interval one step in so
many is measured, so the share added is (measured / unmeasured - 1) / interval. On the other steps
the monitor costs one comparison; that, too, is in the time of the unmeasured step, and timed alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from timing import in_turn, out_path, record, row
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparsefield.monitor import Monitor
from sparsefield.train import TrainConfig
from sparsefield.train.network import Shape, build
from sparsefield.train.optimizer import make_optimizer

INTERVAL = TrainConfig().monitor_every
CONFIGS = {
    "dnn 30 x 300": ({"depth": 30, "width": 300}, (784,)),
    "dnn 100 x 300": ({"depth": 100, "width": 300, "skip": 0.9}, (784,)),
    "dnn 5 x 64": ({"depth": 5, "width": 64}, (64,)),
    "cnn 5 x 32": ({"network": "cnn", "depth": 5, "width": 32}, (3, 16, 16)),
}


def stepper(
    model: nn.Module, config: TrainConfig, x: Tensor, y: Tensor
) -> Callable[[Monitor], None]:
    """One optimiser step under a monitor."""
    optimizer = make_optimizer(config, model.named_parameters())

    def step(monitor: Monitor) -> None:
        with monitor.at(1):
            loss = cross_entropy(model(x), y)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def compared(name: str, repeats: int) -> dict[str, object]:
    """Times of a measured and an unmeasured step, and what is added at the interval."""
    changes, shape = CONFIGS[name]
    config = TrainConfig(device="cpu", **changes).resolved()
    model = build(config, Shape(shape[0], 10))
    x, y = torch.randn(config.batch, *shape), torch.randint(10, (config.batch,))
    step = stepper(model, config, x, y)
    measuring, idle = Monitor(model, every=1), Monitor(model, every=INTERVAL)
    seconds = in_turn(
        {"unmeasured": lambda: step(idle), "measured": lambda: step(measuring)}, repeats=repeats
    )
    table = row(seconds, against="unmeasured", config=name, batch=config.batch, interval=INTERVAL)
    ratio = table["measured"]["time_vs_unmeasured"]
    table["overhead_percent"] = 100 * (ratio - 1) / INTERVAL
    table["idle_percent"] = 100 * idle_seconds(idle) / statistics.median(seconds["unmeasured"])
    return table


def idle_seconds(monitor: Monitor) -> float:
    """Seconds that the monitor takes on a step it does not measure."""

    def idle() -> None:
        with monitor.at(1):
            pass

    return statistics.median(in_turn({"idle": idle}, repeats=21, inner=1000)["idle"])


def main() -> None:
    """Compare every config on one thread."""
    path = out_path("monitor_overhead.json")
    torch.set_num_threads(1)
    rows = [compared(name, repeats=61) for name in CONFIGS]
    record(path, "The monitor's share of a training step, in per cent (target: under 3)", rows)


if __name__ == "__main__":
    main()
