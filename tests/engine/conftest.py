"""What the engine's tests share: one thread unless a test says otherwise, and quick measuring."""

import pytest
import torch

from sparsefield.engine import dispatch


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
