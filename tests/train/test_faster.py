"""Together or one by one: the choice, and what follows from it."""

import pytest

from sparsefield.train import faster, faster_together, read_run, train_all
from sparsefield.train.faster import _faster


@pytest.fixture
def chosen(monkeypatch):
    """Fix what the measurement would say."""
    return lambda answer: monkeypatch.setattr(faster, "faster_together", lambda configs: answer)


def ran_together(out):
    return "together" in read_run(out).result.hardware


@pytest.mark.parametrize("answer", [True, False])
def test_runs_train_as_the_measurement_says_and_results_come_in_order(
    config, tmp_path, chosen, answer
):
    chosen(answer)
    runs = [config(epochs=1), config(epochs=1, depth=2), config(epochs=1, seed=1)]
    outs = [tmp_path / name for name in "abc"]
    results = train_all(runs, outs, progress=False)
    assert [result.seed for result in results] == [0, 0, 1]
    assert [len(result.sparsity_per_layer) for result in results] == [3, 2, 3]
    assert ran_together(outs[0]) == ran_together(outs[2]) == answer
    assert train_all(runs, outs, resume=True, progress=False) == results


def test_a_group_begun_together_goes_on_so(config, tmp_path, chosen, monkeypatch):
    from sparsefield.train.group import Group

    def stop(group, shown):
        raise KeyboardInterrupt

    runs, outs = [config(epochs=1), config(epochs=1, seed=1)], [tmp_path / "a", tmp_path / "b"]
    chosen(True)
    with monkeypatch.context() as patched:
        patched.setattr(Group, "record", stop)
        with pytest.raises(KeyboardInterrupt):
            train_all(runs, outs, progress=False)
    chosen(False)
    train_all(runs, outs, resume=True, progress=False)
    assert ran_together(outs[0])


def test_a_single_run_and_runs_of_two_kinds_are_not_measured(config):
    before = _faster.cache_info().misses
    assert not faster_together([])
    assert not faster_together([config()])
    assert not faster_together([config(), config(depth=2)])
    assert not faster_together([config(precision="bf16"), config(precision="bf16")])
    assert _faster.cache_info().misses == before


def test_a_kind_of_group_is_measured_once(config, tmp_path):
    before = _faster.cache_info().misses
    answers = {
        faster_together([config(seed=1, lr=0.1 * k), config(seed=2, sparsity=0.8)])
        for k in (1, 2, 3)
    }
    assert len(answers) == 1
    assert _faster.cache_info().misses == before + 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("seconds", "answer"), [((1.0, 2.0), True), ((2.0, 1.0), False)])
def test_the_smaller_time_wins(config, monkeypatch, seconds, answer):
    monkeypatch.setattr(faster, "_timed", lambda both, device: seconds)
    _faster.cache_clear()
    assert faster_together([config(), config(seed=1)]) == answer
    _faster.cache_clear()
