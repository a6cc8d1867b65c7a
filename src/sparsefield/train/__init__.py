"""Train a network from one config; the record of a run is a directory.

The names load on first use: a config can be read, checked and written without PyTorch.
"""

from typing import TYPE_CHECKING

from sparsefield.lazy import loading

if TYPE_CHECKING:
    from sparsefield.train.config import TrainConfig as TrainConfig
    from sparsefield.train.configfile import load_config as load_config
    from sparsefield.train.loop import train as train
    from sparsefield.train.network import load_model as load_model
    from sparsefield.train.record import Result as Result
    from sparsefield.train.record import Run as Run
    from sparsefield.train.record import read_run as read_run

_HOMES = {
    "TrainConfig": "config",
    "load_config": "configfile",
    "train": "loop",
    "load_model": "network",
    "Result": "record",
    "Run": "record",
    "read_run": "record",
}

__all__ = sorted(_HOMES)

__getattr__ = loading(__name__, _HOMES)
