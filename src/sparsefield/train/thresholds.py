"""Thresholds put on the activations of a trained network, and what is left of its accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from sparsefield.data import Dataset, load, split
from sparsefield.errors import InvalidInput
from sparsefield.nn import evaluating, fatrelu
from sparsefield.nn.fatrelu import quantile
from sparsefield.train.config import TrainConfig
from sparsefield.train.configfile import load_config
from sparsefield.train.evaluate import Evaluation, evaluate
from sparsefield.train.loop import cpu_threads
from sparsefield.train.network import load_model
from sparsefield.train.runtime import Single, autocast
from sparsefield.watch import Watch, activation_modules

SAMPLE = 1000


class Thresholded:
    """The network of a finished run of ReLU, to be cut off at any level.

    At ``level`` a value of a layer stays as it is if it exceeds the layer's threshold, and is an
    exact zero otherwise. The threshold is the ``level``-quantile of the layer's values, zeros
    included, over a sample of training images that depends on the data alone. The sample's values
    are those that the layer has with the thresholds of the layers before it in place, so that on
    the sample every layer has the share of zeros that was asked for (or that it had, if more).

    Parameters
    ----------
    directory
        of the run; weights, data, precision and threads are its own, the device is the CPU.
    sample
        images to calibrate on, or as many as it trained on if these are fewer.
    dataset
        that of the run, where it is at hand; it is loaded otherwise.

    Raises
    ------
    InvalidInput
        no finished run there, or a run of another activation.
    """

    def __init__(
        self, directory: str | Path, *, sample: int = SAMPLE, dataset: Dataset | None = None
    ) -> None:
        self.config = load_config(Path(directory) / "config.yaml")
        _check(self.config, directory, sample)
        self.model = load_model(directory)
        self._watch = Watch(self.model, activation_modules(self.model))
        data = dataset or load(self.config.data, normalise=self.config.normalise)
        seen = split(len(data.train_y), self.config.validation)[0]
        order = torch.randperm(len(seen), generator=torch.Generator().manual_seed(len(seen)))
        self.sample = data.train_x[seen[order[:sample]]]
        self._test = data.test_x, data.test_y

    def thresholds(self, level: float) -> tuple[float, ...]:
        """One threshold a layer, in the units of the activation; 0 where zeros suffice."""
        if not 0.0 <= level < 1.0:
            raise InvalidInput(f"level {level}: a share of zeros in [0, 1); try 0.9")
        found: list[float] = []

        def cut(layer: int, y: Tensor) -> Tensor:
            found.append(quantile(y, level))
            return fatrelu(y, found[layer])

        with self._cutting(cut):
            self.model(self.sample)
        return tuple(found)

    def evaluate(self, level: float) -> Evaluation:
        """Accuracy and shares of zeros on the test set with the thresholds of ``level``."""
        return self.evaluate_at(self.thresholds(level), *self._test)

    def evaluate_at(
        self, thresholds: Sequence[float], images: Tensor, labels: Tensor
    ) -> Evaluation:
        """The same on other images, with thresholds of one's own."""
        with self._cutting(lambda layer, y: fatrelu(y, thresholds[layer])):
            runtime = Single(torch.device("cpu"))
            return evaluate(self.model, images, labels, runtime, nullcontext)

    @contextmanager
    def _cutting(self, cut: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
        """Put ``cut(layer, output)`` in place of every activation's output inside the block."""
        with (
            self._watch.passes(lambda call: cut(call.place.order, call.output)),
            torch.no_grad(),
            evaluating(self.model),
            cpu_threads(self.config.threads),
            autocast(self.config.precision, torch.device("cpu")),
        ):
            yield


def _check(config: TrainConfig, directory: str | Path, sample: int) -> None:
    if config.family != "relu":
        raise InvalidInput(
            f"{directory}: is a run of family {config.family}; thresholds are put on a trained "
            "ReLU: give a run of family relu, at sparsity 0.5 for the dense one"
        )
    if sample < 1:
        raise InvalidInput(f"sample {sample}: must be a number of images, at least 1")
