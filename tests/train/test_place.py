"""A run resumes where it was begun: threads, processes and device are part of its last bits."""

import signal

import pytest
import torch

from sparsefield.errors import InvalidInput
from sparsefield.train import load_config, train
from sparsefield.train.training import Training


def interrupted_run(config, out, monkeypatch):
    """Train until the fifth step, then be interrupted with a checkpoint."""
    advance = Training.advance

    def strike(self):
        advance(self)
        if self.step == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Training, "advance", strike)
    with pytest.raises(KeyboardInterrupt):
        train(config, out=out, progress=False)
    monkeypatch.undo()


def test_a_run_without_threads_resumes_with_those_it_had(config, tmp_path, same_end, monkeypatch):
    free = config(threads=None, width=300)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(free, out=tmp_path / "whole", progress=False)
        interrupted_run(free, tmp_path / "cut", monkeypatch)
        torch.set_num_threads(2)
        result = train(free, out=tmp_path / "cut", resume=True, progress=False)
        assert torch.get_num_threads() == 2  # as the caller left it
    finally:
        torch.set_num_threads(before)
    assert result.hardware["threads"] == 1
    assert same_end(tmp_path / "whole", tmp_path / "cut")


def test_another_number_of_processes_is_refused(config, tmp_path, monkeypatch):
    interrupted_run(config(), tmp_path, monkeypatch)
    monkeypatch.setattr("sparsefield.train.runtime.Single.world_size", 2)
    with pytest.raises(InvalidInput, match="processes=1, here 2"):
        train(config(), out=tmp_path, resume=True, progress=False)


def test_a_config_yaml_of_ones_own_is_not_overwritten(config, tmp_path):
    own = tmp_path / "config.yaml"
    own.write_text("# my notes\ndepth: 3\n")
    with pytest.raises(InvalidInput, match=r"config\.yaml: is not the record of this run"):
        train(config(), out=tmp_path, progress=False)
    assert own.read_text() == "# my notes\ndepth: 3\n"


def test_a_recorded_default_gives_way_to_a_flag(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("family: crelu\nclip: 1.1\noptimizer: adam\nlr: 0.0003\n")
    assert load_config(path, {"optimizer": "sgd"}).resolved().lr == 2e-3
    assert load_config(path, {"family": "relu"}).resolved().clip is None
    assert load_config(path, {"m": 2.0}).clip is None
    assert load_config(path, {"depth": 3}).lr == 3e-4


def test_small_sets_get_more_epochs():
    from sparsefield.train.config import default_epochs

    assert default_epochs(468) == 10
    assert default_epochs(11) * 11 >= 1500
