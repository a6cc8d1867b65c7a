import multiprocessing
import signal
from concurrent.futures.process import BrokenProcessPool

import pytest

from sparsefield.pictures.runs import read_arms
from sparsefield.sweep import place, read_failure, read_grid, read_table, sweep
from sparsefield.sweep.processes import processes
from sparsefield.sweep.workers import make_all
from sparsefield.train import read_run, train
from sparsefield.train.atomic import exclusive


def spoil(directory):
    """Leave a checkpoint that no one can read."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "checkpoint").write_bytes(b"nonsense")


def test_two_jobs_leave_what_one_run_alone_leaves(small, tmp_path):
    grid = read_grid(small(qs=(1, 4), seeds=2))
    content, out = small(qs=(1, 4), seeds=2), tmp_path / "a"
    found = sweep(content, out=out, jobs=2, progress=False)
    assert [row["name"] for row in found.rows] == [run.name for run in grid.runs]
    for run, row in zip(grid.runs, found.rows, strict=True):
        alone = train(run.config, out=tmp_path / "alone" / run.name, progress=False)
        recorded = read_run(place(tmp_path / "a", run))
        assert recorded.config == run.config
        assert recorded.result.test_accuracy == alone.test_accuracy == row["test_accuracy"]
        assert recorded.result.train_loss == alone.train_loss == row["train_loss"]
        assert recorded.result.sparsity_mean == alone.sparsity_mean == row["sparsity_end"]
        assert (row["q"], row["seed"], row["steps_made"]) == (run.config.q, run.config.seed, 30)
    assert read_table(tmp_path / "a") == list(found.rows)
    assert [(arm.values, arm.runs) for arm in found.arms] == [({"q": 1.0}, 2), ({"q": 4.0}, 2)]


def test_a_run_that_raises_is_recorded_and_the_rest_go_on(small, tmp_path):
    content, out = small(qs=(1, 2, 4)), tmp_path / "a"
    bad = out / "runs" / "q2-seed0"
    sweep(small(qs=(1,)), out=out, jobs=1, progress=False)
    spoil(bad)
    found = sweep(content, out=out, jobs=1, progress=False)
    assert [row["steps_made"] for row in found.rows] == [30, None, 30]
    assert found.rows[1]["failed"]
    assert found.without_result == 1
    assert found.rows[1]["test_accuracy"] is None
    failure = read_failure(bad)
    assert (failure.kind, failure.attempts) == ("raised", 1)
    assert failure.reason.startswith("q2-seed0/checkpoint: is truncated or damaged")
    assert found.rows[1]["reason"] == failure.reason
    assert len(read_arms(out)) == 2  # the report leaves it out
    # It stays as it is, though it would train now; --retry-failed tries it again.
    (bad / "checkpoint").unlink()
    assert sweep(content, out=out, jobs=1, progress=False).rows == found.rows
    again = sweep(content, out=out, jobs=1, retry_failed=True, progress=False)
    assert [row["steps_made"] for row in again.rows] == [30, 30, 30]
    assert not (bad / "failed.json").exists()


@pytest.fixture
def killing(hearing):
    """Make a listener that kills the worker of a run the first ``times`` it has started."""

    def listener(victim, times):
        started, left = hearing.started, iter(range(times))

        def kill(name):
            started(name)
            if name == victim and next(left, None) is not None:
                *_, youngest = sorted(multiprocessing.active_children(), key=lambda one: one.pid)
                youngest.kill()

        hearing.started = kill
        return hearing

    return listener


def made(runs, directory, heard, jobs=1):
    with processes(jobs) as workers:
        ends = make_all(runs, directory, workers, heard)
        return {run.name: failure for run, failure in ends}


def test_a_run_whose_process_is_killed_is_tried_once_more(grid, tmp_path, killing):
    heard = killing("q1-seed0", 1)
    assert made(grid.runs, tmp_path, heard) == {"q1-seed0": None, "q4-seed0": None}
    assert heard.begun == ["q1-seed0", "q1-seed0", "q4-seed0"]
    assert heard.notes == ["q1-seed0: its process was killed; it is tried again"]


def test_killed_twice_it_is_a_failure_and_the_rest_go_on(grid, tmp_path, killing):
    heard = killing("q1-seed0", 2)
    ends = made(grid.runs, tmp_path, heard)
    assert heard.begun == ["q1-seed0", "q1-seed0", "q4-seed0"]
    assert (ends["q1-seed0"].kind, ends["q1-seed0"].attempts) == ("killed", 2)
    assert ends["q4-seed0"] is None
    assert not multiprocessing.active_children()


def test_the_run_beside_the_one_that_is_killed_is_not_blamed(small, tmp_path, killing):
    runs = read_grid(small(qs=(1, 2, 4))).runs
    heard = killing("q2-seed0", 2)
    ends = made(runs, tmp_path, heard, jobs=2)
    assert [name for name, failure in ends.items() if failure] == ["q2-seed0"]
    assert sorted(heard.begun) == ["q1-seed0", "q2-seed0", "q2-seed0", "q4-seed0"]


def test_an_idle_process_that_was_killed_costs_no_run_a_try(small, tmp_path, hearing):
    runs = read_grid(small(qs=(1, 2))).runs
    with processes(1) as workers:
        for _, failure in make_all(runs, tmp_path, workers, hearing):
            assert failure is None
            (idle,) = multiprocessing.active_children()
            idle.kill()
            ((pool, _),) = workers._idle
            with pytest.raises(BrokenProcessPool):  # until the pool has noticed
                pool.submit(int).result()
    assert hearing.begun == [run.name for run in runs]
    assert hearing.notes == []


def test_an_interruption_ends_the_workers_and_keeps_their_checkpoint(small, tmp_path, hearing):
    (run,) = read_grid(small(qs=(1,), steps=10_000_000, epochs=1_000_000)).runs

    def interrupt(steps):
        if any(step > 3 for _, step in steps.values()):
            raise KeyboardInterrupt

    hearing.stepped = interrupt
    with pytest.raises(KeyboardInterrupt):
        made([run], tmp_path, hearing)
    assert not multiprocessing.active_children()
    assert (place(tmp_path, run) / "checkpoint").exists()


def test_a_worker_of_a_killed_sweep_is_waited_for(small, tmp_path, hearing):
    (run,) = read_grid(small(qs=(1,))).runs
    held = exclusive(place(tmp_path, run))
    held.__enter__()

    def let_go(steps):
        if hearing.begun and not hearing.notes:
            hearing.notes.append("let go")
            held.__exit__(None, None, None)

    hearing.stepped = let_go
    assert made([run], tmp_path, hearing) == {"q1-seed0": None}


def test_other_processes_of_the_server_hear_signals(grid, tmp_path, hearing):
    made(grid.runs[:1], tmp_path, hearing)  # there is a server now
    context = multiprocessing.get_context("forkserver")
    reader, writer = context.Pipe(duplex=False)
    other = context.Process(target=report_and_wait, args=(writer,))
    other.start()
    assert reader.recv() == set()
    other.terminate()
    other.join(60)
    assert other.exitcode == -signal.SIGTERM


def report_and_wait(writer):
    """Say which signals are put off; then wait for one."""
    writer.send(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    signal.pause()
