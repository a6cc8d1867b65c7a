"""What follows from how a run ended, without processes."""

from collections import Counter

import pytest

from sparsefield.sweep.failure import Failure, killed
from sparsefield.sweep.grid import read_grid
from sparsefield.sweep.workers import make_all


class Scripted:
    """Workers that end what was started last first, each run as its script says."""

    def __init__(self, jobs=1, **script):
        self.jobs, self.script = jobs, {name: list(ends) for name, ends in script.items()}
        self.under_way, self.most, self.places = [], 0, {}

    def room(self, run):
        return len(self.under_way) < self.jobs

    def start(self, run, directory):
        self.under_way.append(run)
        self.most = max(self.most, len(self.under_way))
        self.places[run.name] = directory

    def ended(self):
        run = self.under_way.pop()
        ends = self.script.get(run.name)
        yield run, ends.pop(0) if ends else None

    def steps(self):
        return {run.name: (0, 1) for run in self.under_way}


@pytest.fixture
def four(small):
    return read_grid(small(seeds=2)).runs


def made(runs, workers, hearing, directory):
    return [(run.name, failure) for run, failure in make_all(runs, directory, workers, hearing)]


@pytest.mark.parametrize("jobs", [1, 3, 9])
def test_every_run_is_started_once_in_order_and_no_more_than_there_is_room_for(
    four, hearing, tmp_path, jobs
):
    workers = Scripted(jobs)
    ends = made(four, workers, hearing, tmp_path)
    assert hearing.begun == [run.name for run in four]
    assert Counter(ends) == Counter((run.name, None) for run in four)
    assert workers.most == min(jobs, 4)
    assert workers.places == {run.name: tmp_path / "runs" / run.name for run in four}
    assert made([], workers, hearing, tmp_path) == []


def test_one_that_raises_has_ended_and_the_others_go_on(four, hearing, tmp_path):
    ends = made(four, Scripted(**{"q4-seed0": [WHY]}), hearing, tmp_path)
    assert ends == [(run.name, WHY if run is four[1] else None) for run in four]
    assert hearing.notes == []


def test_one_that_is_killed_is_tried_again_before_the_others(four, hearing, tmp_path):
    ends = made(four, Scripted(**{"q1-seed0": [killed("x")]}), hearing, tmp_path)
    assert hearing.begun == ["q1-seed0", *(run.name for run in four)]
    assert hearing.notes == ["q1-seed0: its process was killed; it is tried again"]
    assert dict(ends) == dict.fromkeys(run.name for run in four)


def test_killed_every_time_it_is_a_failure_and_the_others_go_on(four, hearing, tmp_path):
    ends = dict(made(four, Scripted(**{"q1-seed0": [killed("x")] * 5}), hearing, tmp_path))
    failure = ends.pop("q1-seed0")
    assert (failure.kind, failure.attempts) == ("killed", 2)
    assert ends == dict.fromkeys(run.name for run in four[1:])


def test_what_it_raises_when_tried_again_is_its_failure(four, hearing, tmp_path):
    ends = dict(made(four[:1], Scripted(**{"q1-seed0": [killed("x"), WHY]}), hearing, tmp_path))
    assert ends == {"q1-seed0": Failure("why", "raised", 2)}


WHY = Failure("why", "raised")
