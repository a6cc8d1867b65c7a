"""What the engine's tests share: one thread unless a test says otherwise, and quick measuring."""

import pytest
import torch

from sparsefield.engine import dispatch
from sparsefield.engine.stored import BesideFloat32


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def measured_briefly(monkeypatch):
    """Three calls are enough where no test depends on which way is faster."""
    seconds = dispatch.seconds
    monkeypatch.setattr(dispatch, "seconds", lambda calls, budget=0.0: seconds(calls, 0.0))


@pytest.fixture
def two_threads(one_thread):
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def storage_not_timed(monkeypatch):
    """Which format is faster for a model of these sizes is anyone's guess, and a warning."""
    monkeypatch.setattr(BesideFloat32, "add", lambda self, runner, x, plan: None)
