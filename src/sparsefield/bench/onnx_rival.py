"""onnxruntime: the model exported, loaded back, and run on the same number of threads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from sparsefield.errors import require

from .quiet import quiet


def onnxruntime(model: nn.Module, sample: Tensor) -> Callable[[Tensor], Tensor]:
    """A session on the model exported for inputs of the sample's shape.

    Raises
    ------
    MissingExtra
        onnx, onnxscript or onnxruntime is not installed.
    """
    runtime = require("onnxruntime", "bench")
    for module in ("onnx", "onnxscript"):
        require(module, "bench")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        _export(model, sample, path)
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (read,) = session.get_inputs()

    def call(x: Tensor) -> Tensor:
        (answer,) = session.run(None, {read.name: x.numpy()})
        return torch.from_numpy(answer)

    return call


def _export(model: nn.Module, sample: Tensor, path: Path) -> None:
    """Write the model; the activations' tau and m are floats, so they become constants."""
    with quiet():
        program = torch.onnx.export(model, (sample.contiguous(),), dynamo=True, verbose=False)
        assert program is not None
        program.save(path)
