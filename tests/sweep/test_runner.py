import multiprocessing

import pytest

from sparsefield.errors import SparsefieldError
from sparsefield.sweep import runner
from sparsefield.sweep.plan import Planned
from sparsefield.sweep.runner import run_all


@pytest.fixture
def killing(monkeypatch):
    """Kill the worker as soon as it has its job, the first ``times``."""

    def started(times):
        left = iter(range(times))

        def kill(heard, run):
            if next(left, None) is not None:
                (worker,) = multiprocessing.active_children()
                worker.kill()

        monkeypatch.setattr(runner.Heard, "started", kill)

    return started


def test_a_worker_that_dies_is_one_clear_line(config, tmp_path, killing):
    killing(2)
    places = {Planned("a", config(epochs=10_000)): tmp_path / "run"}
    with pytest.raises(SparsefieldError, match="a worker process died.* to go on"):
        run_all(places, workers=1, progress=False)
    assert not (tmp_path / "run" / "result.json").exists()
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_once_is_replaced(config, tmp_path, killing):
    killing(1)
    run_all({Planned("a", config()): tmp_path / "run"}, workers=1, progress=False)
    assert (tmp_path / "run" / "result.json").exists()


def test_what_a_run_raises_reaches_the_caller(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SparsefieldError, match="a: file: is a file; give the path of a run"):
        run_all({Planned("a", config()): tmp_path / "file"}, workers=1, progress=False)
    assert not multiprocessing.active_children()


def test_a_run_begun_with_another_config_is_refused(config, own_runs, tmp_path):
    begun = own_runs / "seed-0"
    (begun / "result.json").rename(begun / "checkpoint")
    with pytest.raises(SparsefieldError, match="another config .*width=24 there, 25 here"):
        run_all({Planned("a", config(width=25)): begun}, workers=1, progress=False)
