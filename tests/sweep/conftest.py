import pytest

from sparsefield.sweep import local
from sparsefield.sweep.plan import read_plan

TINY = {
    "depth": 3,
    "width": 16,
    "sparsity": 0.7,
    "batch": 64,
    "steps": 30,
    "lr": 0.1,
    "optimizer": "sgd",
    "device": "cpu",
    "log_every": 7,
    "monitor_every": 10,
}


@pytest.fixture
def small():
    """Content of a sweep of digits, q by seed, with changes of the shared fields."""

    def content(qs=(1, 4), seeds=1, **changes):
        return {"base": {**TINY, **changes}, "grid": {"q": list(qs)}, "seeds": seeds}

    return content


@pytest.fixture
def plan(small):
    """Two runs, planned."""
    return read_plan(small())


class Hearing:
    """A listener that keeps what it hears."""

    def __init__(self):
        self.begun, self.ends, self.notes = [], {}, []

    def started(self, run):
        self.begun.append(run.name)

    def stepped(self, steps):
        pass

    def ended(self, run, failure):
        self.ends[run.name] = failure

    def note(self, message):
        self.notes.append(message)


@pytest.fixture
def hearing(monkeypatch):
    """A listener to be looked into; it hears of steps often, as a fast machine makes many."""
    monkeypatch.setattr(local, "POLL", 0.005)
    return Hearing()
