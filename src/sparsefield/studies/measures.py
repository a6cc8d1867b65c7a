"""What a finished run is measured by, beyond what its result holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sparsefield.data import Dataset
from sparsefield.studies.record import MEASURES
from sparsefield.studies.results import of_result
from sparsefield.train import Run, TrainConfig, load_model, read_run
from sparsefield.train.network import build, shape_for

LEVELS = (0.7, 0.8, 0.85, 0.9, 0.95)
DIGITS = 7
Layers = Mapping[str, NDArray[Any]]


def measures(directory: Path, dataset: Dataset) -> dict[str, Any]:
    """Measure a finished run; what its tables or its numbers do not allow is None.

    The keys: of the result ``test_accuracy``, ``validation_accuracy``, ``train_loss``,
    ``failed``, ``reason``, ``steps_made``, ``seconds``; and

    ``steps_to_half``
        the first logged step whose mean loss is below half of ln(classes), a guess's.
    ``zeros_init``, ``zeros_end``, ``zeros_end_last``
        share of exact zeros on the test set before and after training, mean over layers; of the
        last layer.
    ``q_end``
        q / q*, mean over layers, at the last step that was monitored.
    ``saturated_init``, ``saturated_end``
        share of outputs at the clip, mean over layers, at the first and last monitored step.
    ``chi1_init``, ``chi1_end``
        mean over the hidden layers but the first of fan_in E[W^2] times the share of units below
        that have derivative 1, 1 - zeros - saturated; of the branch, where there is a skip.
    ``dense_accuracy``, ``cut_accuracy``
        on the test set, of a network whose thresholds rose in the midst of its training, just
        before and just after; of the result.
    ``thresholded``
        of a dense network, [level, test accuracy, share of exact zeros (mean over layers)] with
        its trained activations cut off at each level; see :func:`curve`.
    """
    run = read_run(directory)
    first, last = _rows(run.layers, min), _rows(run.layers, max)
    found = {
        **of_result(run.result),
        "steps_to_half": _steps_to_half(run, dataset.classes),
        "q_end": _mean(last, "q", 1 / run.config.q),
        "saturated_init": _mean(first, "saturated"),
        "saturated_end": _mean(last, "saturated"),
        "chi1_init": chi1(initial(run.config, dataset), first),
        "chi1_end": chi1(load_model(directory), last),
        "thresholded": curve(directory, run.config, dataset),
    }
    return {name: rounded(found[name]) for name in MEASURES}


def initial(config: TrainConfig, dataset: Dataset) -> nn.Module:
    """The network of a run as its seed began it."""
    return build(config, shape_for(config, dataset), input_moment=dataset.input_moment)


@torch.no_grad()
def chi1(model: nn.Module, layers: Layers) -> float | None:
    """Mean over the hidden layers but the first of fan_in E[W^2] E[phi'^2], one step's rows."""
    hidden: Any = model.layers
    if not layers or len(hidden) < 2:
        return None
    norms = [torch.linalg.vector_norm(one.weight, dtype=torch.float64) for one in hidden[1:]]
    # fan_in E[W^2] = |W|^2 / outputs
    factors = np.array(
        [float(n) ** 2 / len(one.weight) for n, one in zip(norms, hidden[1:], strict=True)]
    )
    return float(np.mean(factors * (1.0 - layers["sparsity"] - layers["saturated"])[:-1]))


def curve(directory: Path, config: TrainConfig, dataset: Dataset) -> list[list[float]] | None:
    """Accuracy and zeros of a dense network cut off at each of LEVELS; None of any other run.

    Dense: fully connected, plain ReLU, no penalty. As FATReLU [Kurtz et al. 2020], CATS [Lee et al.
    2024] and TEAL [Liu et al. 2024], without the training that some of them add. A convolutional
    network is left out: its test set at every level would take longer than its training took.
    """
    kind = (config.network, config.family, config.sparsity, config.penalty)
    if kind != ("dnn", "relu", 0.5, "none"):
        return None
    from sparsefield.train.thresholds import Thresholded

    network = Thresholded(directory, dataset=dataset)
    found = [(level, network.evaluate(level)) for level in LEVELS]
    return [[level, seen.accuracy, float(np.mean(seen.sparsity))] for level, seen in found]


def rounded(value: Any) -> Any:
    """A number to seven digits, None where it is not finite; a list, each of its values."""
    if isinstance(value, list):
        return [rounded(one) for one in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _rows(layers: Layers, which: Callable[..., Any]) -> Layers:
    """The rows of the first (min) or last (max) monitored step; empty where there is none."""
    steps = layers["step"]
    return (
        {name: values[steps == which(steps)] for name, values in layers.items()}
        if len(steps)
        else {}
    )


def _mean(rows: Layers, name: str, scale: float = 1.0) -> float | None:
    return float(np.mean(rows[name])) * scale if name in rows else None


def _steps_to_half(run: Run, classes: int) -> int | None:
    steps = run.metrics["step"][run.metrics["loss"] < 0.5 * math.log(classes)]
    return int(steps[0]) if len(steps) else None
