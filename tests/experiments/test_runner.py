import multiprocessing

import pytest

from sparsefield.errors import SparsefieldError
from sparsefield.experiments.runner import Job, run_all
from sparsefield.experiments.watching import Watch


class Killer(Watch):
    """Kills the worker as soon as it has its job."""

    def started(self, label, seed):
        (worker,) = multiprocessing.active_children()
        worker.kill()


def test_a_worker_that_dies_is_one_clear_line(config, tmp_path):
    job = Job("a", config(epochs=10_000), tmp_path / "run")
    with pytest.raises(SparsefieldError, match="a worker process died.* to go on"):
        run_all([job], workers=1, watch=Killer())
    assert not (tmp_path / "run" / "result.json").exists()


def test_what_a_run_raises_reaches_the_caller(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SparsefieldError, match="file: is a file; give the path of a run"):
        run_all([Job("a", config(), tmp_path / "file")], workers=1, watch=Watch())
    assert not multiprocessing.active_children()
