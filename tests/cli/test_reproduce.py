"""``sparsefield reproduce`` and ``sparsefield report --docs`` as a user calls them."""

import json
import shutil
import sys

import pytest
import yaml

from sparsefield.cli import main
from sparsefield.experiments import studies

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")
BASE = {"depth": 3, "width": 16, "sparsity": 0.7, "batch": 64, "steps": 10, "device": "cpu"}
PARTS = {"plane": {"base": {"data": "auto", **BASE}, "grid": {"q": [1, 4]}, "seeds": 2}}
STUDY = {"title": "Tiny", "question": "Why?", "source": "nowhere", "tuned": []}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """The user stands in an empty folder; the catalogue has one tiny study, MNIST is nowhere."""
    (tmp_path / "catalogue").mkdir()
    content = yaml.safe_dump({**STUDY, "small": PARTS, "paper": PARTS})
    (tmp_path / "catalogue" / "tiny.yaml").write_text(content)
    home = sys.modules[studies.Study.__module__]
    monkeypatch.setattr(home, "_catalogue", lambda: tmp_path / "catalogue")
    monkeypatch.delenv("SPARSEFIELD_DATA", raising=False)
    monkeypatch.setenv("SPARSEFIELD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_from_a_name_to_a_page_and_from_the_record_to_the_documentation(capsys, inside):
    assert main(["reproduce", "tiny", "--jobs", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("data: digits\n")
    assert "4/4" in err
    assert "- plane: the most accurate arm is q* = " in out
    assert [line.split(":")[0] for line in out.splitlines()[-3:]] == ["page", "figure", "record"]
    folder = inside / "studies" / "tiny-small"
    assert {path.name for path in folder.iterdir()} == {
        "plane",
        "record.json",
        "tiny.md",
        "tiny.svg",
    }

    assert main(["reproduce", "tiny", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert err == ""
    assert answer["record"] == "studies/tiny-small/record.json"
    assert set(answer["findings"][0]) == {"sentence", "estimate", "low", "high", "n"}

    for name in ("docs/results", "results/records"):
        (inside / name).mkdir(parents=True)
    (inside / "docs/results/intro.md").write_text("# Results\n")
    shutil.copy(folder / "record.json", inside / "results/records/tiny-small.json")
    assert main(["report", "results", "--docs", "docs"]) == 0
    assert "docs/results/tiny.md" in capsys.readouterr().out
    assert main(["report", "results", "--docs", "docs", "--check"]) == 0
    capsys.readouterr()
    (inside / "docs/results/tiny.md").write_text("# Tiny, improved\n")
    with pytest.raises(SystemExit) as stop:
        main(["report", "results", "--docs", "docs", "--check"])
    assert stop.value.code == 1
    said = capsys.readouterr().out.splitlines()
    assert said == ["docs/results/tiny.md: differs from what the records say, first in line 1"]
    assert (inside / "docs/results/tiny.md").read_text() == "# Tiny, improved\n"


def test_a_dry_run_makes_nothing(capsys, inside):
    assert main(["reproduce", "tiny", "--dry-run"]) == 0
    assert "runs          4" in capsys.readouterr().out
    assert main(["reproduce", "tiny", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 40
    assert list(inside.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reproduce", "tyni"], "study 'tyni': is unknown; did you mean 'tiny'? There are tiny"),
        (["reproduce"], "name"),
        (["reproduce", "tiny", "--scale", "large"], "large"),
        (["reproduce", "tiny", "--data", "nothing-here"], "unknown dataset 'nothing-here'"),
        (["reproduce", "tiny", "--jobs", "0"], "jobs=0: must be at least 1"),
        (["report", "nowhere", "--docs", "docs"], "nowhere: holds no folder records"),
        (["report", ".", "--check"], "--check: compares documentation with records"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(capsys, arguments, said):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_documentation_without_its_introduction_is_one_line(capsys, tmp_path):
    (tmp_path / "records").mkdir()
    assert main(["report", str(tmp_path), "--docs", str(tmp_path / "docs")]) == 2
    err = capsys.readouterr().err
    assert "docs/results/intro.md: cannot be read" in err
    assert len(err.splitlines()) == 1
