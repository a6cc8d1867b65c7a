"""Every example runs, and so does the Python of the README."""

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_example_runs(path, capsys):
    runpy.run_path(str(path))["main"]()
    assert capsys.readouterr().out


def test_the_accelerated_network_is_the_trained_one(capsys):
    """The engine takes what train saved, and its outputs are the model's."""
    runpy.run_path(str(ROOT / "examples" / "accelerate.py"))["main"](depth=4, width=60, epochs=1)
    said = capsys.readouterr().out
    assert float(re.search(r"largest difference (\S+)", said)[1]) <= 1e-5
    assert "same decisions 100.0%" in said
    assert "read from its file: 100.0%" in said


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


def test_the_python_of_the_readme_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_the_table_of_escapes_is_that_of_the_recorded_run(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    rows = json.loads((ROOT / "results/benchmarks/escape.json").read_text())["rows"]
    table = runpy.run_path(str(ROOT / "benchmarks/escape.py"))["table"]
    page = (ROOT / "docs/finite-width.md").read_text()
    assert table(rows) in page
    rows[3]["networks"]["share"] *= 1.01  # the twin
    assert table(rows) not in page


def test_the_recorded_escapes_agree_with_the_operator():
    for row in json.loads((ROOT / "results/benchmarks/escape.json").read_text())["rows"]:
        for sample in (row["chain"], row["networks"]):
            assert sample["n"] == 10_000
            assert abs(sample["z_score"]) < 4.0  # false alarm 6e-5 each


def test_the_tables_of_the_engine_are_those_of_the_recorded_runs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    page, readme = (ROOT / "docs/engine.md").read_text(), (ROOT / "README.md").read_text()
    shapes = runpy.run_path(str(ROOT / "benchmarks/engine.py"))["table"]
    recorded = shapes(ROOT / "results/benchmarks/engine")
    assert recorded in page
    rows = [line for line in readme.splitlines() if line.startswith(("| dnn-", "| cnn-"))]
    assert len(rows) >= 6
    assert all(row in recorded.splitlines() for row in rows)
    assert recorded.replace("x (", "0x (", 1) not in page  # the twin
    trained = runpy.run_path(str(ROOT / "benchmarks/trained_engine.py"))["table"]
    assert trained(ROOT / "results/trained") in page


@pytest.mark.parametrize("script", ["training_step", "training_living"])
def test_the_tables_of_training_are_those_of_the_recorded_runs(script, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    rows = json.loads((ROOT / f"results/benchmarks/{script}.json").read_text())["rows"]
    table = runpy.run_path(str(ROOT / f"benchmarks/{script}.py"))["table"]
    page = (ROOT / "docs/engine.md").read_text()
    assert table(rows) in page
    rows[0]["lists" if "lists" in rows[0] else "lists, fused"]["median_s"] *= 1.1  # the twin
    assert table(rows) not in page


def test_a_trained_network_answers_the_same_through_the_engine():
    recorded = sorted((ROOT / "results/trained").glob("*.json"))
    assert len(recorded) >= 2
    for path in recorded:
        (row,) = json.loads(path.read_text())["rows"]
        said = row["answers"]
        assert said["images"] == 10_000
        assert said["images_decided_otherwise"] == said["of_1000_one_by_one"] == 0
        assert said["accuracy_engine"] == said["accuracy_model"]
