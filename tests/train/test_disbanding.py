"""A group that was begun goes on as single runs."""

import os
import signal

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.train import begun_together, disband, read_run, train, train_together
from sparsefield.train.group import Group


@pytest.fixture
def runs(config):
    """Three runs that train together; one diverges."""
    shared = {"optimizer": "adam", "family": "relu", "monitor_every": 0}
    rates = (1e-3, 1e30, 2e-3)
    return [config(seed=seed, lr=lr, **shared) for seed, lr in enumerate(rates)]


@pytest.fixture
def begun(runs, tmp_path, monkeypatch):
    """Their directories, as an interruption after 20 steps left them."""
    outs, record = [tmp_path / name for name in "abc"], Group.record

    def recording(group, shown):
        record(group, shown)
        if group.step == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Group, "record", recording)
        with pytest.raises(KeyboardInterrupt):
            train_together(runs, outs, progress=False)
    return outs


def seconds_of(out, step):
    metrics = read_run(out).metrics
    return metrics["seconds"][list(metrics["step"]).index(step)]


def test_each_goes_on_from_where_the_group_was(runs, begun, tmp_path):
    ended = read_run(begun[1])
    disband(runs, begun)
    assert not begun_together(begun)
    for run, out in zip(runs, begun, strict=True):
        result = train(run, out=out, resume=True, progress=False)
        alone = train(run, out=tmp_path / "alone" / out.name, progress=False)
        assert result.steps == alone.steps
        assert result.failed == alone.failed
        if not result.failed:
            assert result.train_loss == pytest.approx(alone.train_loss, rel=1e-3)
            assert seconds_of(out, 14) < seconds_of(out, 21)
    assert read_run(begun[1]).result == ended.result
    assert begun[1].joinpath("result.json").exists()


def test_a_step_of_the_group_is_not_made_again(runs, begun, monkeypatch):
    from sparsefield.train.training import Training

    steps, advance = [], Training.advance

    def advancing(training, model):
        steps.append(training.step)
        advance(training, model)

    disband(runs, begun)
    monkeypatch.setattr(Training, "advance", advancing)
    train(runs[0], out=begun[0], resume=True, progress=False)
    assert steps[0] == 20


def test_a_checkpoint_holds_its_own_run_only(runs, begun, tmp_path):
    disband(runs, begun)
    train(runs[0], out=tmp_path / "alone", progress=False)
    alone = (tmp_path / "alone" / "checkpoint").stat().st_size
    assert (begun[0] / "checkpoint").stat().st_size < 1.05 * alone


def test_cut_off_in_between_it_does_the_rest(runs, begun, monkeypatch):
    from sparsefield.train import disbanding

    save, saved = disbanding.save_checkpoint, []

    def once(*arguments):
        if saved:
            raise KeyboardInterrupt
        saved.append(save(*arguments))

    with monkeypatch.context() as patched:
        patched.setattr(disbanding, "save_checkpoint", once)
        with pytest.raises(KeyboardInterrupt):
            disband(runs, begun)
    assert begun_together(begun)
    disband(runs, begun)
    assert all((out / "checkpoint").exists() for out in begun)
    assert not begun_together(begun)


def test_without_a_group_nothing_happens(runs, tmp_path):
    disband(runs, [tmp_path / name for name in "abc"])
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read_is_left(runs, begun):
    with pytest.raises(InvalidInput, match="is of 3 runs, 2 are given"):
        disband(runs[:2], begun[:2])
    group = begun[0] / "together"
    group.write_bytes(group.read_bytes()[:1000])
    with pytest.raises(InvalidInput, match="together: is truncated or damaged"):
        disband(runs, begun)
    assert group.exists()
    assert not (begun[0] / "checkpoint").exists()
