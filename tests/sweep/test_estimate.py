import pytest

from sparsefield.sweep import dry_run, sweep
from sparsefield.sweep.estimate import makespan, step_weight
from sparsefield.sweep.progress import Display


def test_each_kind_of_network_is_measured_once(small, tmp_path):
    content = {**small(qs=(1, 4), seeds=3), "list": [{"width": 16}, {"width": 64}]}
    cost = dry_run(content, out=tmp_path / "a", jobs=3)
    assert (cost.runs, cost.ended, cost.steps, cost.jobs) == (12, 0, 12 * 30, 3)
    assert [(kind.example, kind.runs) for kind in cost.kinds] == [
        ("width16-q1-seed0", 6),
        ("width64-q1-seed0", 6),
    ]
    assert cost.seconds == sum(kind.seconds for kind in cost.kinds)
    assert all(kind.seconds > kind.steps * kind.seconds_per_step > 0 for kind in cost.kinds)
    assert cost.seconds / 3 <= cost.wall_seconds < cost.seconds
    # Weights, once in the checkpoint and once in the model: 64 w + 2 w^2 + 10 w floats and more.
    assert cost.kinds[1].disk > 2 * 4 * (64 * 64 + 2 * 64 * 64 + 64 * 10)
    assert "12 runs, 0 of them" not in str(cost)
    assert "6 runs like width64-q1-seed0" in str(cost)
    assert not (tmp_path / "a").exists()


def test_the_weight_of_a_penalty_costs_nothing(small, tmp_path):
    arms = [{"penalty": "l1", "penalty_weight": weight} for weight in (0.1, 1.0)]
    content = {**small(qs=(1,)), "list": [{"family": "topk"}, *arms]}
    cost = dry_run(content, out=tmp_path / "a", jobs=1)
    assert [(kind.example, kind.runs) for kind in cost.kinds] == [
        ("familytopk-q1-seed0", 1),
        ("penaltyl1-penalty_weight0.1-q1-seed0", 2),
    ]


def test_only_what_is_left_is_counted(small, tmp_path):
    sweep(small(qs=(1,)), out=tmp_path, jobs=1, progress=False)
    cost = dry_run(small(qs=(1, 2)), out=tmp_path, jobs=4)
    assert (cost.runs, cost.ended, cost.steps) == (2, 1, 30)
    assert cost.wall_seconds == cost.seconds  # one run is not shared by four
    sweep(small(qs=(1, 2)), out=tmp_path, jobs=1, progress=False)
    done = dry_run(small(qs=(1, 2)), out=tmp_path, jobs=1)
    assert (done.steps, done.seconds, done.kinds) == (0, 0.0, ())


def test_steps_of_larger_networks_weigh_more(grid):
    config = grid.runs[0].config
    assert step_weight(config.model_copy(update={"width": 500})) > 10 * step_weight(config)


def test_a_run_is_not_shared_by_workers(small, tmp_path):
    cost = dry_run(small(qs=(1,), seeds=5), out=tmp_path / "a", jobs=4)
    # a fifth run waits for a worker
    assert cost.wall_seconds == pytest.approx(2 / 5 * cost.seconds)


def test_what_takes_longest_comes_first(small, tmp_path, monkeypatch):
    begun, started = [], Display.started

    def note(self, name):
        begun.append(name.split("-")[0])
        started(self, name)

    monkeypatch.setattr(Display, "started", note)
    arms = [{"width": 16, "steps": 4}, {"width": 64, "steps": 4}, {"width": 24, "steps": 30}]
    found = sweep({**small(qs=(1,)), "list": arms}, out=tmp_path, jobs=1, progress=False)
    assert begun == ["width24", "width64", "width16"]
    assert [row["width"] for row in found.rows] == [16, 64, 24]  # the table stays in order


def test_the_last_worker_is_done_when_the_longest_share_is():
    assert makespan([3.0, 2.0, 2.0], 2) == 4.0
    assert makespan([2.0, 2.0, 3.0], 2) == 5.0  # what a poor order costs
    assert makespan([], 3) == 0.0
