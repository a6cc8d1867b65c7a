import pytest

from sparsefield.sweep import read_grid, workers

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


@pytest.fixture(scope="session")
def small():
    """Content of a sweep of digits, q by seed, with changes of the shared fields."""

    def content(qs=(1, 4), seeds=1, **changes):
        return {"base": {**TINY, **changes}, "grid": {"q": list(qs)}, "seeds": seeds}

    return content


@pytest.fixture
def grid(small):
    """Two runs."""
    return read_grid(small())


class Hearing:
    """A listener that keeps what it hears."""

    def __init__(self):
        self.begun, self.notes = [], []

    def started(self, name):
        self.begun.append(name)

    def stepped(self, steps):
        pass

    def note(self, message):
        self.notes.append(message)


@pytest.fixture
def hearing(monkeypatch):
    """A listener to be looked into; it hears of steps often, as a fast machine makes many."""
    monkeypatch.setattr(workers, "POLL", 0.005)
    return Hearing()


@pytest.fixture
def table():
    """The rows, less the seconds, the only column that may differ."""

    def without_seconds(rows):
        return [{key: row[key] for key in row if key != "seconds"} for row in rows]

    return without_seconds
