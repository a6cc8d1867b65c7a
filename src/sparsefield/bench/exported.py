"""The model exported, run by onnxruntime or OpenVINO on as many threads as PyTorch has."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from sparsefield.errors import require

from .making import Call, quiet


def onnxruntime(model: nn.Module, sample: Tensor) -> Call:
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
    with tempfile.TemporaryDirectory() as folder, quiet():
        # the activations' tau and m are floats, so they become constants
        program = torch.onnx.export(model, (sample.contiguous(),), dynamo=True, verbose=False)
        assert program is not None
        path = Path(folder) / "model.onnx"
        program.save(path)
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (read,) = session.get_inputs()

    def call(x: Tensor) -> Tensor:
        (answer,) = session.run(None, {read.name: x.numpy()})
        return torch.from_numpy(answer)

    return call


def openvino(model: nn.Module, sample: Tensor) -> Call:
    """The model converted for inputs of the sample's shape, compiled for the latency of one call.

    Raises
    ------
    MissingExtra
        openvino is not installed.
    """
    # Importing and converting report to its makers, unless the package that does so is not there.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    runtime = require("openvino", "bench")
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",  # where a CPU has bfloat16, it would use that
        "PERFORMANCE_HINT": "LATENCY",
    }
    with quiet():
        converted = runtime.convert_model(torch.export.export(model, (sample.contiguous(),)))
        compiled = runtime.Core().compile_model(converted, "CPU", settings)
    request, output = compiled.create_infer_request(), compiled.output(0)

    def call(x: Tensor) -> Tensor:
        return torch.from_numpy(request.infer([x.numpy()], share_inputs=True)[output])

    return call
