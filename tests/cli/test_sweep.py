"""``sparsefield sweep`` as a user calls it."""

import json
import sys

import pytest
import yaml

from sparsefield.cli import main

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")
BASE = {"depth": 3, "width": 16, "sparsity": 0.7, "batch": 64, "steps": 10, "device": "cpu"}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """The user stands where the sweep file lies."""
    monkeypatch.chdir(tmp_path)
    content = {"base": BASE, "grid": {"q": [1, 4]}, "seeds": 2}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def test_runs_a_table_and_the_same_again(capsys, inside):
    assert main(["sweep", "a.yaml", "--jobs", "1"]) == 0
    out, err = capsys.readouterr()
    assert "4/4" in err
    assert "Mean [95 % interval] over seeds" in out
    assert out.rstrip().endswith("record: sweeps/a")
    names = {path.name for path in (inside / "sweeps" / "a").iterdir()}
    assert names == {"plan.json", "runs", "sweep.yaml", "table.parquet"}
    assert main(["sweep", "a.yaml", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert err == ""
    assert list(answer) == ["directory", "without_result", "arms", "runs"]
    assert [row["name"] for row in answer["runs"]] == [
        f"q{q}-seed{seed}" for seed in (0, 1) for q in (1, 4)
    ]
    assert [arm["means"]["test_accuracy"]["n"] for arm in answer["arms"]] == [2, 2]


def test_the_report_reads_a_sweep(capsys, inside):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    assert main(["sweep", "a.yaml", "--jobs", "1", "--out", "s", "--json"]) == 0
    assert main(["report", "s"]) == 0
    assert "report: s/report.html" in capsys.readouterr().out


def test_a_dry_run_makes_nothing(capsys, inside):
    assert main(["sweep", "a.yaml", "--dry-run", "--jobs", "2"]) == 0
    out, _ = capsys.readouterr()
    assert "runs          4" in out
    assert "2 at a time" in out
    assert main(["sweep", "a.yaml", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 40
    assert [path.name for path in inside.iterdir()] == ["a.yaml"]


BAD = {
    "no file": (["b.yaml"], "b.yaml: there is no such file"),
    "jobs": (["a.yaml", "--jobs", "0"], "jobs=0: must be at least 1"),
    "workers": (["a.yaml", "--workers", "slurm"], "slurm"),
    "address": (["a.yaml", "--address", "1.2.3.4:5"], "belongs to workers ray"),
    "out is a file": (["a.yaml", "--out", "a.yaml"], "a.yaml: cannot be made a directory"),
    "out is something else": (["a.yaml", "--out", "."], ".yaml and no sweep"),
    "unknown field": (["bad.yaml"], "did you mean 'width'"),
    "batch": (["large.yaml"], "batch=5000: larger than the training set of 1442"),
    "no data": (["data.yaml"], "nowhere"),
}


@pytest.mark.parametrize(("flags", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_exit_code_2(flags, says, capsys, inside):
    (inside / "bad.yaml").write_text("grid: {widht: [3]}")
    (inside / "large.yaml").write_text("base: {batch: 5000}")
    (inside / "data.yaml").write_text("base: {data: ./nowhere}")
    assert main(["sweep", *flags]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sparsefield: error: ")
    assert err.count("\n") == 1
    assert says in err


def test_ray_that_is_not_there_names_the_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["sweep", "a.yaml", "--workers", "ray"]) == 2
    assert "pip install 'sparsefield[ray]'" in capsys.readouterr().err
