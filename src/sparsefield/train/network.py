"""From a config to its network, to what theory expects of it, and back from a run directory."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sparsefield.data import Dataset, load
from sparsefield.errors import InvalidInput
from sparsefield.monitor import Expectation, expected
from sparsefield.nn import CNN, DNN
from sparsefield.nn.batch_norm_cnn import BatchNormCNN
from sparsefield.nn.threshold import fatrelu_
from sparsefield.theory import Point
from sparsefield.train.atomic import write_bytes
from sparsefield.train.config import TrainConfig
from sparsefield.train.configfile import load_config

MODEL = "model.safetensors"
# One key: the order of several would differ from file to file.
_METADATA = "sparsefield"


@dataclass(frozen=True)
class Shape:
    """What a network must know of its data: values (or channels) of an input, and classes."""

    inputs: int
    classes: int


def shape_for(config: TrainConfig, dataset: Dataset) -> Shape:
    """The shape of the network on ``dataset``: all values of an input, or its channels (cnn)."""
    image = dataset.train_x.shape[1:]
    inputs = image[0] if config.network == "cnn" else math.prod(image)
    return Shape(int(inputs), int(dataset.classes))


def build(
    config: TrainConfig, shape: Shape, *, point: Point | None = None, input_moment: float = 1.0
) -> nn.Module:
    """The config's network with its initial weights, which its seed fixes; float32, on the CPU.

    Parameters
    ----------
    config, shape
        What to build.
    point
        Of the config, where it is solved already.
    input_moment
        Mean square of a value of the data.
    """
    kind, options = _kind(config, input_moment)
    network: nn.Module = kind(
        shape.inputs,
        config.width,
        config.depth,
        shape.classes,
        point or config.point(),
        head_gain=config.head_gain,
        generator=torch.Generator().manual_seed(config.seed),
        **options,
        **_convolution(config),
    )
    if config.threshold is not None:
        fatrelu_(network)
    return network


def expectation(
    config: TrainConfig, point: Point, shape: Shape, input_moment: float
) -> Expectation:
    """Theory's q and sparsity of every layer at initialisation.

    With ``init="torch"`` q starts from the data's second moment.
    """
    layers = config.variance_map(point)
    if config.init == "eoc":
        return expected(layers, point.q, config.depth)
    q1 = (input_moment + 1 / (config.taps * shape.inputs)) / 3
    return expected(layers, q1, config.depth, without_skip=config.strides)


def save_model(directory: Path, model: nn.Module, shape: Shape) -> None:
    """Write the weights, with the shape in the file's metadata."""
    metadata = {_METADATA: json.dumps(asdict(shape))}
    write_bytes(directory / MODEL, save(_tensors(model.state_dict()), metadata))


def load_model(directory: str | Path) -> nn.Module:
    """Rebuild the trained network of a run directory, on the CPU.

    Raises
    ------
    InvalidInput
        No config or no weights there, a damaged file, or weights of another network.
    """
    config = load_config(Path(directory) / "config.yaml")
    tensors, shape = _read_model(Path(directory) / MODEL)
    model = build(config, shape)
    own = model.state_dict()
    fitting = {name for name in tensors if name in own and tensors[name].shape == own[name].shape}
    odd = sorted(fitting ^ (set(_tensors(own)) | set(tensors)))
    if odd:
        raise InvalidInput(
            f"{directory}: {MODEL} does not fit the network of config.yaml at {odd[0]}; "
            "use the two files of one run"
        )
    model.load_state_dict({**own, **tensors})
    return model


def held_out_inputs(directory: str | Path, model: nn.Module, data: str | None = None) -> Tensor:
    """The test set of a run's data, ``[n, ...]``, normalised as what the network was trained on.

    Parameters
    ----------
    directory
        of a finished run.
    model
        its network.
    data
        other data of the same shape.

    Raises
    ------
    InvalidInput
        no run there, data that is not at hand, or data of another shape.
    """
    config = load_config(Path(directory) / "config.yaml")
    dataset = load(data or config.data, normalise=config.normalise)
    takes, gives = next(model.parameters()).shape[1], shape_for(config, dataset).inputs
    if takes != gives:
        raise InvalidInput(
            f"data {data or config.data!r}: gives {gives} inputs and the network of {directory} "
            f"takes {takes}; leave --data out, or name data of that shape"
        )
    return dataset.test_x


def _kind(config: TrainConfig, input_moment: float) -> tuple[Any, dict[str, Any]]:
    """The class of the network, and what that one alone is told."""
    if config.norm == "batch":
        return BatchNormCNN, {}
    return CNN if config.network == "cnn" else DNN, {
        "skip": config.skip,
        "init": config.init,
        "weights": config.weights,
        "input_moment": input_moment,
    }


def _convolution(config: TrainConfig) -> dict[str, Any]:
    if config.network != "cnn":
        return {}
    return {"padding": config.padding, "strides": config.strides, "pool": config.pool}


def _tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dict as safetensors wants them; the config has the constants."""
    return {
        name: value.detach().cpu().contiguous()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def _read_model(path: Path) -> tuple[dict[str, Tensor], Shape]:
    if not path.exists():
        raise InvalidInput(f"{path}: there is no such file; finish the run with resume")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            shape = Shape(**json.loads((file.metadata() or {})[_METADATA]))
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise InvalidInput(
            f"{path}: is damaged or not of a run ({error}); delete result.json and resume the run"
        ) from None
    return tensors, shape
