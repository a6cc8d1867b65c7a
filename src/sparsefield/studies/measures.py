"""What a finished run is measured by, beyond what its result holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsefield.data import Dataset
from sparsefield.train import Run, TrainConfig, read_run
from sparsefield.train.network import build, restore, shape_for

MEASURES = (
    *("test_accuracy", "validation_accuracy", "train_loss", "failed", "reason"),
    *("steps_made", "steps_to_half", "seconds", "zeros_init", "zeros_end", "zeros_end_last"),
    *("q_end", "saturated_init", "saturated_end", "chi1_init", "chi1_end"),
    *("grad_ratio_init", "logit_rms_init", "logit_rms_end", "thresholded"),
)
LEVELS = (0.7, 0.8, 0.85, 0.9, 0.95)
SAMPLE, BATCH = 512, 128
DIGITS = 7
Layers = dict[str, NDArray[Any]]
Measures = dict[str, Any]


def measures(directory: Path, dataset: Dataset) -> Measures:
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
    ``grad_ratio_init``
        rms gradient at the first layer over that at the last, at the first monitored step.
    ``logit_rms_init``, ``logit_rms_end``
        root mean square of the logits on 512 held-out inputs.
    ``thresholded``
        of a dense network, [level, test accuracy, share of exact zeros (mean over layers)] with
        its trained activations cut off at each level; see :func:`curve`.
    """
    run = read_run(directory)
    model = initial(run.config, dataset)
    sample = held_out(dataset)
    first, last = _at(run.layers, min), _at(run.layers, max)
    found = {
        **of_result(run),
        "steps_to_half": _steps_to_half(run, dataset.classes),
        "q_end": _mean(last.get("q"), 1 / run.config.q),
        "saturated_init": _mean(first.get("saturated")),
        "saturated_end": _mean(last.get("saturated")),
        "chi1_init": chi1(model, first),
        "grad_ratio_init": _ends(first.get("grad_rms")),
        "logit_rms_init": logit_rms(model, sample),
    }
    restore(model, directory)
    found |= {"chi1_end": chi1(model, last), "logit_rms_end": logit_rms(model, sample)}
    found["thresholded"] = curve(directory, run.config, dataset)
    return {name: rounded(found[name]) for name in MEASURES}


def nothing(reason: str) -> Measures:
    """The measures of a run that ended without a result."""
    return {**dict.fromkeys(MEASURES), "failed": True, "reason": reason}


def of_result(run: Run) -> Measures:
    """Those that the result holds."""
    result = run.result
    return {
        "test_accuracy": result.test_accuracy,
        "validation_accuracy": result.validation_accuracy,
        "train_loss": result.train_loss,
        "failed": result.failed,
        "reason": result.reason,
        "steps_made": result.steps,
        "seconds": result.seconds,
        "zeros_init": _mean(np.array(result.sparsity_init)),
        "zeros_end": result.sparsity_mean,
        "zeros_end_last": result.sparsity_per_layer[-1],
    }


def initial(config: TrainConfig, dataset: Dataset) -> nn.Module:
    """The network of a run as its seed began it."""
    return build(config, shape_for(config, dataset), input_moment=dataset.input_moment)


def held_out(dataset: Dataset) -> Tensor:
    """The same 512 test inputs for every run, evenly spaced over the test set."""
    stride = max(1, len(dataset.test_x) // SAMPLE)
    return dataset.test_x[::stride][:SAMPLE]


@torch.no_grad()
def logit_rms(model: nn.Module, inputs: Tensor) -> float:
    """Root mean square of the logits over inputs and classes."""
    logits = torch.cat([model(batch) for batch in inputs.split(BATCH)])
    return float(logits.double().square().mean().sqrt())


@torch.no_grad()
def chi1(model: nn.Module, layers: Mapping[str, NDArray[Any]]) -> float | None:
    """Mean over the hidden layers but the first of fan_in E[W^2] E[phi'^2], one step's rows."""
    if not layers:
        return None
    linear = 1.0 - layers["sparsity"] - layers["saturated"]
    factors = np.array(list(_weight_factors(model)))
    return _mean(factors * linear[:-1]) if len(factors) else None


def curve(directory: Path, config: TrainConfig, dataset: Dataset) -> list[list[float]] | None:
    """Accuracy and zeros of a dense network cut off at each of LEVELS; None of any other run.

    Dense: fully connected, plain ReLU, no penalty. A convolutional network is left out: its whole
    test set at every level would take the CPU longer than its training took the device.
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


def _weight_factors(model: nn.Module) -> Iterator[float]:
    """fan_in E[W^2] of every hidden layer but the first."""
    layers: Any = model.layers
    for layer in layers[1:]:
        norm = torch.linalg.vector_norm(layer.weight, dtype=torch.float64)
        yield float(norm) ** 2 / len(layer.weight)  # fan_in E[W^2] = |W|^2 / outputs


def _at(layers: Layers, which: Any) -> Layers:
    """The rows of the first (min) or last (max) monitored step; empty where there is none."""
    steps = layers["step"]
    if not len(steps):
        return {}
    chosen = steps == which(steps)
    return {name: values[chosen] for name, values in layers.items()}


def _mean(values: NDArray[Any] | None, scale: float = 1.0) -> float | None:
    return None if values is None else float(np.mean(values)) * scale


def _ends(values: NDArray[Any] | None) -> float | None:
    if values is None or not values[-1] > 0:
        return None
    return float(values[0] / values[-1])


def _steps_to_half(run: Run, classes: int) -> int | None:
    half = 0.5 * math.log(classes)
    steps = run.metrics["step"][run.metrics["loss"] < half]
    return int(steps[0]) if len(steps) else None
