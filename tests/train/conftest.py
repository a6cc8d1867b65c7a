import os
import signal

import numpy as np
import pytest

from cases import RUN
from sparsefield.train import TrainConfig, read_run, train
from sparsefield.train.training import Training


@pytest.fixture
def config():
    """Make a config that trains on digits in a fraction of a second, with changes."""
    return lambda **changes: TrainConfig(**{**RUN, **changes})


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Train once, to the end: the config and its run directory, which no test may change."""
    config, out = TrainConfig(**RUN), tmp_path_factory.mktemp("runs") / "finished"
    train(config, out=out, progress=False)
    return config, out


@pytest.fixture
def same_end():
    """Compare the ends of two runs: weights by their bytes, tables and result but for seconds."""
    return _same_end


def _same_end(one, other):
    bytes_equal = _bytes(one) == _bytes(other)
    a, b = read_run(one), read_run(other)
    return (
        bytes_equal
        and _timeless(a.result.to_dict()) == _timeless(b.result.to_dict())
        and _equal_tables(_timeless(a.metrics), _timeless(b.metrics))
        and _equal_tables(a.layers, b.layers)
    )


def _bytes(directory):
    return (directory / "model.safetensors").read_bytes()


def _timeless(columns):
    return {name: value for name, value in columns.items() if name != "seconds"}


def _equal_tables(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name], equal_nan=True) for name in one
    )


@pytest.fixture
def interrupt_at(monkeypatch):
    """Send this process a signal after the given step."""

    def arrange(step, number=signal.SIGINT):
        record = Training.record

        def recording(training, shown):
            record(training, shown)
            if training.step == step:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(Training, "record", recording)
        return monkeypatch.undo

    return arrange


@pytest.fixture
def interrupted_after(interrupt_at):
    """Begin a run, and end it by a signal after a step."""

    def interrupted(config, out, step):
        undo = interrupt_at(step)
        with pytest.raises(KeyboardInterrupt):
            train(config, out=out, progress=False)
        undo()

    return interrupted
