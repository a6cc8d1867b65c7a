"""A sweep whose runs train together, in processes of their own."""

import json
import multiprocessing

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.sweep import read_plan, read_table, running, sweep
from sparsefield.sweep.failure import read_failure
from sparsefield.sweep.folder import opened, place, waiting
from sparsefield.sweep.local import run_local
from sparsefield.sweep.pieces import PIECES, Piece, Pieces, remove_groups
from sparsefield.train import begun_together, read_run, train


def table(out):
    """The rows, less the seconds; a loss that is NaN equals itself."""
    rows = [{key: row[key] for key in row if key != "seconds"} for row in read_table(out)]
    return [{**row, "train_loss": repr(row["train_loss"])} for row in rows]


def settled(out, content, *sizes):
    """Begin a sweep whose runs train together, so many in a piece."""
    plan, pieces, begin = read_plan(content), [], 0
    for size in sizes:
        pieces.append(Piece(plan.runs[begin : begin + size], True))
        begin += size
    with opened(out, plan):
        Pieces(pieces, out).write()
    return plan, Pieces(pieces, out)


def decisions(out):
    content = json.loads((out / PIECES).read_text())
    return [(len(piece["runs"]), piece["together"]) for piece in content["pieces"]]


def companions(out, plan):
    return [read_run(place(out, run)).result.hardware.get("together") for run in plan.runs]


def test_what_is_measured_is_recorded_and_done(small, tmp_path):
    content = small(seeds=4)
    plan, out = read_plan(content), tmp_path / "a"
    found = sweep(content, out=out, jobs=2, progress=False)
    assert [row["steps_made"] for row in found.rows] == [30] * 8
    (first, one), (second, other) = decisions(out)
    assert (first, second) == (4, 4)
    assert one is other
    assert one in (True, False)
    assert companions(out, plan) == [4 if one else None] * 8


def test_runs_together_are_those_alone_to_rounding_and_never_is_bit_for_bit(small, tmp_path):
    content = small(seeds=2)
    plan, _ = settled(tmp_path / "a", content, 2, 2)
    sweep(content, out=tmp_path / "a", jobs=2, progress=False)
    sweep(content, out=tmp_path / "b", jobs=2, together="never", progress=False)
    alone = [train(run.config, out=tmp_path / run.name, progress=False) for run in plan.runs]
    for one, other, result in zip(table(tmp_path / "a"), table(tmp_path / "b"), alone, strict=True):
        assert float(one["train_loss"]) == pytest.approx(result.train_loss, rel=1e-5)
        assert float(other["train_loss"]) == result.train_loss
        assert other["test_accuracy"] == result.test_accuracy
    assert companions(tmp_path / "a", plan) == [2] * 4
    assert companions(tmp_path / "b", plan) == [None] * 4
    assert table(tmp_path / "a") != table(tmp_path / "b")  # to the last digit they do differ
    assert decisions(tmp_path / "b") == [(1, False)] * 4


def interrupted(hearing, after):
    def stepped(steps):
        hearing.steps.append(dict(steps))
        if any(step > after for _, step in steps.values()):
            raise KeyboardInterrupt

    hearing.steps, hearing.stepped = [], stepped
    return hearing


LONG = {"steps": 1000, "epochs": 1000}


def test_cut_off_and_resumed_with_other_jobs_the_table_is_the_same(small, tmp_path, hearing):
    content = small(steps=600, epochs=1000, family="relu") | {
        "grid": {"lr": [0.1, 1e30, 0.05]},
        "seeds": 2,
    }
    plan, _ = settled(tmp_path / "whole", content, 4, 2)
    whole = sweep(content, out=tmp_path / "whole", jobs=1, progress=False)
    _, pieces = settled(tmp_path / "parts", content, 4, 2)
    with pytest.raises(KeyboardInterrupt):
        run_local(plan.runs, tmp_path / "parts", interrupted(hearing, 100), jobs=1, pieces=pieces)
    left = waiting(tmp_path / "parts", plan)
    assert "lr1e+30-seed0" not in [run.name for run in left]  # it left the group and is recorded
    assert len(left) == 5
    assert begun_together([place(tmp_path / "parts", plan.runs[0])])
    under_way = hearing.steps[-1]
    assert set(under_way) == {run.name for run in plan.runs[:4]}
    assert len(set(under_way.values())) == 1
    sweep(content, out=tmp_path / "parts", jobs=2, together="never", progress=False)
    assert table(tmp_path / "parts") == table(tmp_path / "whole")
    assert companions(tmp_path / "parts", plan) == [4] * 4 + [2] * 2
    assert [row["failed"] for row in whole.rows][1]
    assert not begun_together([place(tmp_path / "parts", run) for run in plan.runs])


def test_runs_that_are_added_leave_the_others_as_they_are(small, tmp_path):
    plan, _ = settled(tmp_path, small(), 2)
    before = sweep(small(), out=tmp_path, jobs=1, progress=False).rows
    after = sweep(small(seeds=3), out=tmp_path, jobs=2, progress=False).rows
    assert after[:2] == before
    assert [size for size, _ in decisions(tmp_path)] == [2, 2, 2]
    assert companions(tmp_path, plan) == [2, 2]


def test_killed_twice_each_goes_on_alone_from_where_the_group_was(small, tmp_path, hearing):
    plan, pieces = settled(tmp_path, small(steps=240, epochs=100, checkpoint_every=0.0), 2)
    kills, begun = [], {}

    def stepped(steps):
        for name, (begin, step) in steps.items():
            if not hearing.notes or "each goes on alone" not in hearing.notes[-1]:
                if step > 40 * (1 + len(kills)) and len(kills) < 2:
                    kills.append(step)
                    (worker,) = multiprocessing.active_children()
                    worker.kill()
                    break
            elif begin:
                begun[name] = begin

    hearing.stepped = stepped
    run_local(plan.runs, tmp_path, hearing, jobs=1, pieces=pieces)
    assert len(kills) == 2
    assert hearing.ends == dict.fromkeys(run.name for run in plan.runs)
    assert hearing.notes == [
        "q1-seed0 and 1 more: its process was killed; it is tried again",
        "q1-seed0 and 1 more: not together (their process was killed 2 times); each goes on alone",
    ]
    assert decisions(tmp_path) == [(2, False)]
    assert companions(tmp_path, plan) == [None, None]
    assert not begun_together([place(tmp_path, run) for run in plan.runs])
    assert len(set(begun.values())) == 1
    assert min(begun.values()) > 40


def test_one_that_raises_is_recorded_and_the_others_go_on_alone(small, tmp_path):
    plan, _ = settled(tmp_path, small(qs=(1, 2, 4)), 3)
    bad = place(tmp_path, plan.runs[1])
    bad.mkdir(parents=True)
    (bad / "config.yaml").write_text("depth: 7\n")
    found = sweep(small(qs=(1, 2, 4)), out=tmp_path, jobs=2, progress=False)
    assert [row["steps_made"] for row in found.rows] == [30, None, 30]
    assert read_failure(bad).reason.startswith("q2-seed0/config.yaml: is not the record of this")
    assert read_failure(bad).kind == "raised"
    assert decisions(tmp_path) == [(3, False)]


def test_a_damaged_checkpoint_of_a_group_is_the_failure_of_its_runs(small, tmp_path, hearing):
    plan, pieces = settled(tmp_path, small(**LONG), 2)
    with pytest.raises(KeyboardInterrupt):
        run_local(plan.runs, tmp_path, interrupted(hearing, 50), jobs=1, pieces=pieces)
    checkpoint = place(tmp_path, plan.runs[0]) / "together"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    found = sweep(small(**LONG), out=tmp_path, jobs=1, progress=False)
    assert found.without_result == 2
    says = "runs/q1-seed0/together: is truncated or damaged"
    assert all(row["reason"].startswith(says) for row in found.rows)
    checkpoint.unlink()
    again = sweep(small(**LONG), out=tmp_path, jobs=1, retry_failed=True, progress=False)
    assert again.without_result == 0
    assert companions(tmp_path, plan) == [2, 2]


def test_killed_after_its_last_result_a_group_leaves_nothing(small, tmp_path):
    plan, _ = settled(tmp_path, small(), 2)
    before = sweep(small(), out=tmp_path, jobs=1, progress=False)
    group = place(tmp_path, plan.runs[0]) / "together"
    group.touch()
    assert sweep(small(), out=tmp_path, jobs=1, progress=False).rows == before.rows
    assert not group.exists()
    group.touch()
    (place(tmp_path, plan.runs[1]) / "result.json").unlink()
    remove_groups(tmp_path, Pieces([Piece(plan.runs, True)]))
    assert group.exists()  # one has no result: this is where it goes on


def test_never_says_what_was_settled_before(small, tmp_path, capsys):
    settled(tmp_path, small(), 2)
    sweep(small(), out=tmp_path, jobs=1, together="never")
    assert "2 runs were settled to train together, and do so still" in capsys.readouterr().err
    assert decisions(tmp_path) == [(2, True)]


def test_a_cluster_does_not_take_over_what_was_settled_to_train_together(
    small, tmp_path, monkeypatch
):
    monkeypatch.setattr(running, "load_ray", lambda: None)
    settled(tmp_path, small(), 2)
    with pytest.raises(InvalidInput, match="2 runs were settled to train together there; resume"):
        sweep(small(), out=tmp_path, engine="ray", progress=False)


def test_a_cluster_makes_each_run_alone_and_that_is_settled(small, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "load_ray", lambda: None)
    monkeypatch.setattr(running, "run_ray", lambda runs, directory, heard, **_: None)
    sweep(small(), out=tmp_path, engine="ray", progress=False)
    assert decisions(tmp_path) == [(1, False), (1, False)]


def test_another_word_is_one_line(small, tmp_path):
    with pytest.raises(InvalidInput, match="together='always': must be auto or never"):
        sweep(small(), out=tmp_path / "a", together="always", progress=False)
    assert not list(tmp_path.iterdir())
