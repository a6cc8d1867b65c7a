import shutil

import pytest
import torch

from sparsefield.errors import InvalidInput
from sparsefield.train import train
from sparsefield.train.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def saved(config, tmp_path):
    path = tmp_path / "checkpoint"
    save_checkpoint(path, config(), "digest", {"step": 3, "x": torch.arange(1000.0)})
    return path


def test_a_state_survives(saved, config):
    state = load_checkpoint(saved, config(), "digest")
    assert state["step"] == 3
    assert torch.equal(state["x"], torch.arange(1000.0))


def test_no_checkpoint_is_no_state(config, tmp_path):
    assert load_checkpoint(tmp_path / "absent", config(), "digest") is None


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_checkpoint(saved, config, keep):
    content = saved.read_bytes()
    saved.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(InvalidInput, match=r"is truncated or damaged \(.*\); delete it and resume"):
        load_checkpoint(saved, config(), "digest")


def test_one_flipped_bit_in_a_tensor(saved, config):
    content = bytearray(saved.read_bytes())
    content[content.find(torch.arange(100.0).numpy().tobytes()) + 50] ^= 1
    saved.write_bytes(content)
    with pytest.raises(InvalidInput, match="truncated or damaged"):
        load_checkpoint(saved, config(), "digest")


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("code of a pickle has run",))


@pytest.mark.parametrize("content", [Harmful(), {"config": Harmful()}, {"step": 3}, [1, 2]])
def test_a_file_of_something_else_is_damaged_and_runs_no_code(saved, config, content):
    torch.save(content, saved)
    with pytest.raises(InvalidInput, match="truncated or damaged"):
        load_checkpoint(saved, config(), "digest")


def test_another_config(saved, config):
    with pytest.raises(InvalidInput, match=r"another config \(it differs in depth, seed\); resume"):
        load_checkpoint(saved, config(depth=9, seed=1), "digest")


def test_other_data(saved, config):
    with pytest.raises(InvalidInput, match="data_digest is digest, the data at hand have other;"):
        load_checkpoint(saved, config(), "other")


def test_another_format(saved, config):
    content = torch.load(saved, weights_only=True)
    torch.save({**content, "format": 99}, saved)
    with pytest.raises(InvalidInput, match="format=99, this version reads 1; delete it"):
        load_checkpoint(saved, config(), "digest")


def test_train_meets_a_damaged_checkpoint_with_the_same_error(finished, config, tmp_path):
    out = shutil.copytree(finished[1], tmp_path / "copy")
    (out / "result.json").unlink()
    (out / "checkpoint").write_bytes(b"PK")
    with pytest.raises(InvalidInput, match="checkpoint: is truncated or damaged"):
        train(config(), out=out, resume=True, progress=False)
    (out / "checkpoint").unlink()  # the remedy works
    assert not train(config(), out=out, resume=True, progress=False).failed
