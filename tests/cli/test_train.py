"""``sparsefield train`` as a user calls it."""

import json

import pytest
import yaml

from sparsefield.cli import main

SMALL = ["--data", "digits", "--depth", "3", "--width", "32", "--sparsity", "0.7"]
SMALL += ["--epochs", "2", "--batch", "64", "--threads", "1"]


def test_json_is_the_result_and_nothing_else(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", *SMALL, "--out", str(out), "--json"]) == 0
    stdout = capsys.readouterr().out
    assert json.loads(stdout) == json.loads((out / "result.json").read_text())


def test_a_diverged_run_is_reported_and_exits_0(tmp_path, capsys):
    wild = ["--optimizer", "sgd", "--lr", "1e37"]
    assert main(["train", *SMALL, *wild, "--out", str(tmp_path / "run"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["failed"]
    assert "diverged" in result["reason"]


def test_file_flags_and_resume(tmp_path, capsys):
    file, out = tmp_path / "a.yaml", tmp_path / "run"
    file.write_text("depth: 3\nwidth: 32\nepochs: 1\nthreads: 1\n")
    assert main(["train", str(file), "--epochs", "2", "--out", str(out)]) == 0
    assert yaml.safe_load((out / "config.yaml").read_text())["epochs"] == 2
    said = capsys.readouterr().out
    assert "test accuracy" in said
    assert "engine         dense\n" in said  # auto leaves what is small alone
    assert main(["train", str(file), "--epochs", "2", "--out", str(out)]) == 2
    assert "already holds a finished run" in capsys.readouterr().err
    assert main(["train", "--out", str(out), "--resume"]) == 0  # the config is in the record


def test_the_engine_is_told(tmp_path, capsys):
    file = tmp_path / "a.yaml"
    file.write_text("depth: 3\nwidth: 32\nepochs: 1\nthreads: 1\n")
    lists = ["train", str(file), "--engine", "sparse"]
    assert main([*lists, "--out", str(tmp_path / "run")]) == 0
    assert "engine         lists in 3 of 3 layers that can\n" in capsys.readouterr().out
    assert main([*lists, "--family", "topk", "--out", str(tmp_path / "topk")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "engine=sparse: " in error
    assert not (tmp_path / "topk" / "config.yaml").exists()


def test_the_default_folder_is_named_after_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SMALL, "--seed", "3"]) == 0
    (made,) = (tmp_path / "runs").iterdir()
    assert "depth3" in made.name
    assert "seed3" in made.name


def test_rivals_are_flags(tmp_path, capsys):
    penalty = ["--family", "relu", "--penalty", "hoyer", "--penalty-weight", "0.1"]
    for name, flags in {"topk": ["--family", "topk"], "hoyer": penalty}.items():
        assert main(["train", *SMALL, *flags, "--out", str(tmp_path / name), "--json"]) == 0
        assert 0.5 < json.loads(capsys.readouterr().out)["sparsity_mean"] < 0.9


BAD = {
    "sparsity": (["--sparsity", "1"], "sparsity"),
    "two clips": (["--clip", "1", "--m", "1"], "only one of them"),
    "unknown data": (["--data", "./nowhere"], "nowhere"),
    "batch": (["--batch", "100000"], "batch"),
    "negative rate": (["--lr", "-1"], "lr=-1.0"),
    "impossible point": (["--family", "relu", "--sparsity", "0.2"], "sigma_b2"),
    "choice": (["--network", "rnn"], "rnn"),
    "clipped winners": (["--family", "topk", "--clip", "1"], "family=topk"),
    "half a penalty": (["--penalty", "l1"], "penalty_weight"),
}


@pytest.mark.parametrize(("flags", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_exit_code_2(flags, says, tmp_path, capsys):
    assert main(["train", *SMALL, *flags, "--out", str(tmp_path / "run")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
    assert err.startswith("sparsefield: error: ")


def test_report_of_nothing_is_one_line(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "nowhere" in err
