"""From a run directory to the engine of its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from sparsefield.engine import Engine, accelerate
from sparsefield.train.held_out import held_out_inputs
from sparsefield.train.network import load_model

_SAMPLES = 128


def accelerate_run(directory: str | Path, sample: Tensor | None = None, **options: Any) -> Engine:
    """The trained network of a run directory as an engine.

    Parameters
    ----------
    directory
        as :func:`sparsefield.train.train` makes it.
    sample
        inputs to measure on; by default 128 test images of the run's own data.
    options
        of :func:`sparsefield.accelerate`.

    Raises
    ------
    InvalidInput
        no trained network there, or data that is not at hand.
    """
    model = load_model(directory).eval()
    if sample is None:
        sample = held_out_inputs(directory, model)[:_SAMPLES]
    engine: Engine = accelerate(model, sample, **options)
    return engine
