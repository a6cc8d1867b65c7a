"""Every example runs, and so does the Python of the README."""

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
