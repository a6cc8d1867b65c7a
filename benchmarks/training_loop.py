"""Is train()'s loop as fast as a loop written by hand in PyTorch on the same model?

Both do the same work on such batches: forward, backward, optimiser, schedule. train() adds its
record, its check for divergence and its monitor, each at the default interval. Evaluation and
checkpoints, which the loop by hand has not, are left out: a test set of ten images, none saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from timing import in_turn, out_path, record, row
from torch import Tensor
from torch.nn.functional import cross_entropy

from sparsefield.data import Dataset
from sparsefield.train import TrainConfig
from sparsefield.train.progress import Silent
from sparsefield.train.runtime import Single
from sparsefield.train.training import Training

BLOCK = 50  # steps: the default interval of the monitor and of the rows
CONFIGS = {
    "dnn 30 x 300, sgd": {"depth": 30, "width": 300, "optimizer": "sgd"},
    "dnn 30 x 300, adam": {"depth": 30, "width": 300, "optimizer": "adam"},
    "dnn 5 x 100, sgd": {"depth": 5, "width": 100, "optimizer": "sgd"},
    "cnn 5 x 16, sgd": {"network": "cnn", "depth": 5, "width": 16, "optimizer": "sgd"},
}

REPEATS = {"dnn 5 x 100, sgd": 81}  # a block of it is over so soon that one pair says little


def images(channels: int, side: int) -> Dataset:
    """As many random images as MNIST has, to take batches from."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60_000, channels, side, side, generator=generator)
    y = torch.randint(10, (60_000,), generator=generator)
    return Dataset(x, y, x[:10], y[:10], classes=10, digest="random", normalise="none")


def ours(config: TrainConfig, dataset: Dataset) -> Callable[[], None]:
    """One step of train()'s loop."""
    training = Training(config, config.point(), Single(torch.device("cpu")), Path(), dataset)
    silent = Silent()

    def step() -> None:
        training.advance()
        training.record(silent)

    return step


def by_hand(config: TrainConfig, dataset: Dataset, *, fused: bool) -> Callable[[], None]:
    """One step of a plain loop on a model of its own, with the same schedule."""
    training = Training(config, config.point(), Single(torch.device("cpu")), Path(), dataset)
    model, x, y = training.model, dataset.train_x, dataset.train_y
    kind, options = optimizer_of(config)
    optimizer = kind(model.parameters(), lr=config.lr, fused=fused or None, **options)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, training.factor)
    batches = endless(len(y), config.batch)

    def step() -> None:
        chosen = next(batches)
        loss = cross_entropy(model(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    return step


def optimizer_of(config: TrainConfig) -> tuple[type[torch.optim.Optimizer], dict[str, float]]:
    """The optimiser's class and what it takes beside the rate."""
    if config.optimizer == "sgd":
        return torch.optim.SGD, {"momentum": config.momentum}
    return torch.optim.Adam, {}


def endless(size: int, batch: int) -> Iterator[Tensor]:
    """Batches of a new permutation each epoch."""
    generator = torch.Generator().manual_seed(0)
    while True:
        order = torch.randperm(size, generator=generator)
        yield from order[: size // batch * batch].split(batch)


def compared(name: str, repeats: int) -> dict[str, object]:
    """Times of a step: train()'s, by hand with the same fused optimiser, and with the default."""
    config = TrainConfig(device="cpu", engine="dense", **CONFIGS[name]).resolved()
    dataset = images(3, 16) if config.network == "cnn" else images(1, 28)
    rivals = {
        "by_hand": by_hand(config, dataset, fused=True),
        "by_hand_unfused": by_hand(config, dataset, fused=False),
        "train": ours(config, dataset),
    }
    seconds = in_turn(rivals, repeats=repeats, inner=BLOCK)
    return row(seconds, against="by_hand", config=name, batch=config.batch, steps_a_block=BLOCK)


def main() -> None:
    """Compare every config on one thread."""
    path = out_path("training_loop.json")
    torch.set_num_threads(1)
    rows = [compared(name, REPEATS.get(name, 21)) for name in CONFIGS]
    record(path, "train()'s loop against one by hand, time per step (target: at most 1.05)", rows)


if __name__ == "__main__":
    main()
