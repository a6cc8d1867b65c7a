import json
import shutil

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.train import Result, read_run, train
from sparsefield.train.record import open_run, read_result


@pytest.fixture
def copy(finished, tmp_path):
    """Copy the finished run, so that a test may damage it."""
    return shutil.copytree(finished[1], tmp_path / "copy")


def test_a_finished_run_is_not_trained_over(finished, config):
    with pytest.raises(InvalidInput, match="already holds a finished run; resume it, or give"):
        train(config(), out=finished[1], progress=False)


def test_an_unfinished_run_is_not_trained_over(copy, config):
    (copy / "result.json").unlink()
    with pytest.raises(InvalidInput, match="already holds an unfinished run; resume it"):
        train(config(), out=copy, progress=False)


def test_resuming_a_finished_run_returns_its_result(finished, config):
    _, out = finished
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert train(config(), out=out, resume=True, progress=False) == read_run(out).result
    assert before == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_resuming_with_another_config_names_what_differs(copy, config, state):
    if state == "unfinished":
        (copy / "result.json").unlink()
    with pytest.raises(InvalidInput, match=r"another config \(depth=3 there, 4 here, lr=0.1 th"):
        train(config(depth=4, lr=0.5), out=copy, resume=True, progress=False)


def test_defaults_written_out_are_not_another_config(finished, config):
    written = config(clip=1.1)  # what config() leaves to the default
    assert train(written, out=finished[1], resume=True, progress=False).seed == 0


def test_a_result_survives_its_json(finished):
    result = read_result(finished[1])
    assert isinstance(result, Result)
    assert json.loads((finished[1] / "result.json").read_text()) == result.to_dict()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.yaml", "holds no config.yaml; give the directory of a run"),
        ("result.json", "holds no result.json, the run is not finished; resume it"),
        ("metrics.parquet", "metrics.parquet: no such file; run again"),
        ("layers.parquet", "layers.parquet: no such file; run again"),
    ],
)
def test_a_missing_file_is_named(copy, name, message):
    (copy / name).unlink()
    with pytest.raises(InvalidInput, match=message):
        read_run(copy)


@pytest.mark.parametrize("name", ["result.json", "metrics.parquet", "layers.parquet"])
def test_a_truncated_file_is_named_in_one_line(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidInput, match=rf"{name}: is damaged .*; run again") as caught:
        read_run(copy)
    assert "\n" not in str(caught.value)


def test_a_result_without_a_key_is_damaged(copy):
    (copy / "result.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"result.json: is damaged .*test_accuracy"):
        read_run(copy)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(InvalidInput, match="holds no"):
        read_run(tmp_path / "absent")


def test_a_run_killed_before_its_first_checkpoint_goes_on_with_its_data_elsewhere(config, tmp_path):
    begun = config(data="there/digits.npz").resolved()
    assert open_run(tmp_path, begun, resume=False) is None
    moved = config(data="here/digits.npz").resolved()
    assert open_run(tmp_path, moved, resume=True) is None
    with pytest.raises(InvalidInput, match="is not the record of this run"):
        open_run(tmp_path, config(lr=0.123).resolved(), resume=True)
    (tmp_path / "config.yaml").write_text("[nonsense")
    with pytest.raises(InvalidInput, match="is not the record of this run"):
        open_run(tmp_path, moved, resume=True)
