"""``sparsefield bench`` as a user calls it."""

import json

import pytest
import torch

from sparsefield.bench import clock
from sparsefield.cli import main

SHAPE = ["bench", "dnn-3x16-in8"]
QUICK = ["--rivals", "eager,embedding_bag", "--seconds", "0.001", "--batch", "1,4"]
BRIEF = [*QUICK, "--layers", "0", "--no-crossover"]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """Pictures go where the user stands, and every test starts with one thread."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clock, "_PAUSE_S", 0.0)  # one thread has no others to wait for
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(before)


def test_a_table_and_a_picture_by_default(capsys, inside):
    pytest.importorskip("matplotlib")
    assert main([*SHAPE, *QUICK]) == 0
    out, _ = capsys.readouterr()
    assert "1 thread(s) for every contender" in out
    assert "embedding_bag" in out
    assert "density x batch on Linear 16 x 16" in out
    assert out.rstrip().endswith("bench-dnn-3x16-in8.svg")
    assert (inside / "bench-dnn-3x16-in8.svg").read_text().startswith("<?xml")


def test_json_alone_draws_nothing(capsys, inside):
    assert main([*SHAPE, *BRIEF, "--sparsity", "0.7", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert err == ""
    assert answer["subject"] == "dnn-3x16-in8"
    assert answer["sparsity_target"] == 0.7
    assert 0.4 < answer["sparsity"] < 0.95
    assert answer["hardware"]["threads"] == answer["threads"] == 1
    assert {"torch", "sparsefield"} <= set(answer["versions"])
    assert [row["contender"] for row in answer["rows"]] == ["eager", "embedding_bag"] * 2
    assert answer["layers"] == answer["crossover"] == []
    assert answer["picture"] is None
    assert list(inside.iterdir()) == []


def test_json_with_a_picture(capsys, inside):
    pytest.importorskip("matplotlib")
    assert main([*SHAPE, *BRIEF, "--out", "deep/one.png", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (inside / answer["picture"]).read_bytes().startswith(b"\x89PNG")


def test_threads_are_set_for_this_command_only(capsys):
    assert main([*SHAPE, *BRIEF, "--threads", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {row["threads"] for row in answer["rows"]} == {answer["threads"]} == {2}
    assert torch.get_num_threads() == 1


def test_a_cnn_lists_the_rivals_that_cannot(capsys):
    assert main(["bench", "cnn-2x4x6", *BRIEF, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["status"] for row in rows] == ["timed", "absent"] * 2


def test_a_trained_model_on_its_test_images(capsys):
    pytest.importorskip("sklearn")
    flags = ["--data", "digits", "--depth", "3", "--width", "32", "--sparsity", "0.7"]
    assert main(["train", *flags, "--epochs", "1", "--threads", "1", "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["bench", "run", *BRIEF, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["subject"] == "run"
    assert answer["sparsity_target"] == 0.7
    assert answer["inputs"] == "trained dnn 3 x 32, skip 0, test images of digits"
    assert main(["bench", "run", *BRIEF, "--sparsity", "0.5"]) == 2
    assert "trained already" in capsys.readouterr().err


BAD = {
    "shape": (["bench", "dnn-3"], "dnn-DEPTHxWIDTH"),
    "option": (["bench", "dnn-3x4-fast"], "'dnn-3x4-fast'"),
    "folder": (["bench", "empty"], "sparsefield train"),
    "nowhere": (["bench", "runs/nowhere"], "sparsefield train"),
    "rival": ([*SHAPE, "--rivals", "numba"], "'numba'"),
    "no rival": ([*SHAPE, "--rivals", ""], "--rivals ''"),
    "batch": ([*SHAPE, "--batch", "1,x"], "'1,x'"),
    "batch 0": ([*SHAPE, "--batch", "0"], "from 1 on"),
    "seconds": ([*SHAPE, "--seconds", "0"], "seconds 0"),
    "layers": ([*SHAPE, "--layers", "-2"], "layers -2"),
    "threads": ([*SHAPE, "--threads", "0"], "--threads 0"),
    "ending": ([*SHAPE, "--out", "a.gif"], ".svg, .png, .pdf"),
    "sparsity": ([*SHAPE, "--sparsity", "1"], "sparsity"),
    "data": ([*SHAPE, "--data", "digits"], "only a trained model"),
}


@pytest.mark.parametrize(("flags", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_exit_code_2(flags, says, capsys, inside):
    (inside / "empty").mkdir()
    assert main(flags) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
    assert err.startswith("sparsefield: error: ")


@pytest.mark.slow
def test_every_rival(capsys):
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    flags = ["--seconds", "0.001", "--batch", "2", "--layers", "0", "--no-crossover", "--json"]
    assert main([*SHAPE, *flags]) == 0
    rows = {row["contender"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert list(rows) == [
        *("eager", "channels_last", "compile", "compile-frozen", "onnxruntime", "openvino"),
        *("embedding_bag", "csr", "engine"),
    ]
    assert "wrong" not in {row["status"] for row in rows.values()}
    assert rows["onnxruntime"]["status"] == rows["csr"]["status"] == "timed"
