import shutil

import pytest

from cases import RUN
from sparsefield.train import TrainConfig, train

ARMS = {
    "a-plain": {},
    "b-skip": {"skip": 0.5},
    "c-default": {"init": "torch", "sparsity": 0.99},
    "d-unclipped": {"family": "relu"},
    "e-diverges": {"lr": 1e9},
}


@pytest.fixture
def config():
    """Make a config that trains on digits in a fraction of a second, with changes."""
    return lambda **changes: TrainConfig(**{**RUN, **changes})


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Train two seeds of every arm, one seed of the last: a folder no test may change."""
    folder = tmp_path_factory.mktemp("experiments") / "runs"
    for arm, changes in ARMS.items():
        for seed in (0, 1)[: 1 if arm == "e-diverges" else 2]:
            config = TrainConfig(**{**RUN, **changes, "seed": seed})
            train(config, out=folder / arm / f"seed-{seed}", progress=False)
    return folder


@pytest.fixture
def own_runs(runs, tmp_path):
    """Copy one arm, for a test that changes files."""
    return shutil.copytree(runs / "a-plain", tmp_path / "own")
