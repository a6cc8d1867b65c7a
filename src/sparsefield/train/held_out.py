"""The inputs that a trained network is looked at with."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from sparsefield.data import load
from sparsefield.errors import InvalidInput
from sparsefield.train.configfile import load_config
from sparsefield.train.network import shape_for


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
