"""A small network of each kind, and what stands in for an engine."""

import pytest
import torch
from torch import nn

from sparsefield.bench import Rival, clock
from sparsefield.nn import CNN, DNN
from sparsefield.theory import solve

POINT = solve("cst", sparsity=0.8, q=2.0, clip=1.0)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """One thread, and none to be waited for between contenders."""
    monkeypatch.setattr(clock, "_PAUSE_S", 0.0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def dnn():
    generator = torch.Generator().manual_seed(0)
    return DNN(7, 33, 4, 5, POINT, skip=0.5, generator=generator).eval()


@pytest.fixture
def cnn():
    generator = torch.Generator().manual_seed(0)
    return CNN(2, 6, 3, 5, POINT, pool=2, strides=(1,), generator=generator).eval()


class StandIn(nn.Module):
    """Runs the model, says what it is as an engine does, and may be made wrong."""

    backend, threads = "stand-in", 1

    def __init__(self, model, error=0.0):
        super().__init__()
        self.model, self.error = model, error

    def forward(self, x):
        return self.model(x) + self.error


@pytest.fixture
def stand_in():
    """A rival called engine, off by ``error`` times one."""
    return lambda error=0.0: Rival("engine", lambda model, sample: StandIn(model, error))
