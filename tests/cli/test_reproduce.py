"""``sparsefield reproduce`` and ``sparsefield report --docs`` as a user calls them."""

import json
import shutil
import sys

import pytest

from sparsefield.cli import main
from sparsefield.sweep.folder import only_sweep

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def inside(here):
    """The user stands in an empty folder; the catalogue has one tiny study, MNIST is nowhere."""
    return here


def test_from_a_name_to_a_page_and_from_the_record_to_the_documentation(capsys, inside):
    assert main(["reproduce", "tiny", "--jobs", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("data: digits\n")
    assert "part plane, 1 of 1: 4 runs" in err
    assert "4/4" in err
    assert "measuring the networks of 4 runs" in err
    assert "from q* = 1 to 4" in out
    assert "does not bear out" not in out
    assert [line.split(":")[0] for line in out.splitlines()[-3:]] == ["page", "figure", "record"]
    folder = inside / "studies" / "tiny-small"
    assert {path.name for path in folder.iterdir()} == {
        "plane",
        "record.json",
        "study.json",
        "tiny.md",
        "tiny.svg",
    }

    assert main(["reproduce", "tiny", "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert err == ""
    assert answer["record"] == "studies/tiny-small/record.json"
    assert answer["effects"][0]["name"] == "q"
    assert set(answer["effects"][0]["found"]) == {"estimate", "low", "high", "n"}
    assert answer["not_borne_out"] == []

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
        (["reproduce", "tiny", "--workers", "slurm"], "slurm"),
        (["reproduce", "tiny", "--address", "1.2.3.4:5"], "belongs to workers ray"),
        (["report", "nowhere", "--docs", "docs"], "nowhere: holds no folder records"),
        (["report", ".", "--check"], "--check: compares documentation with records"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(capsys, inside, arguments, said):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert list(inside.iterdir()) == []


def test_ray_that_is_not_there_names_the_extra(refused, inside, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    said = refused(main, "reproduce", "tiny", "--workers", "ray")
    assert "pip install 'sparsefield[ray]'" in said
    assert list(inside.iterdir()) == []


def test_a_page_that_the_record_does_not_bear_out_is_said_and_stops_nothing(
    capsys, inside, catalogue
):
    page = catalogue / "tiny" / "page.md"
    page.write_text("# Tiny\n\nIt is so.\n\nMuch more {rises q, nested falls}.\n")
    assert main(["reproduce", "tiny", "--jobs", "1"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "this record does not bear out: effect q: the page says rises q, nested falls" in said
    told = (inside / "studies" / "tiny-small" / "tiny.md").read_text()
    assert told.startswith("> **The text was written for another record.")
    (inside / "docs" / "results").mkdir(parents=True)
    (inside / "docs" / "results" / "intro.md").write_text("# Results\n")
    (inside / "results" / "records").mkdir(parents=True)
    record = inside / "studies" / "tiny-small" / "record.json"
    shutil.copy(record, inside / "results" / "records" / "tiny-small.json")
    assert main(["report", "results", "--docs", "docs"]) == 2  # documentation must be true
    err = capsys.readouterr().err
    assert "page tiny: effect q: the page says rises q" in err
    assert len(err.splitlines()) == 1


def test_what_is_missing_is_said_before_hours_of_runs(refused, inside, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'sparsefield[report]'" in refused(main, "reproduce", "tiny")
    assert list(inside.iterdir()) == []


def test_runs_without_a_result_are_tried_again_when_asked(capsys, inside):
    flags = ["--jobs", "1"]
    assert main(["reproduce", "tiny", *flags, "--json"]) == 0
    run = inside / "studies" / "tiny-small" / "plane" / "runs" / "q4-seed1"
    (run / "result.json").unlink()
    (run / "failed.json").write_text('{"reason": "was killed", "kind": "killed", "attempts": 2}')
    assert main(["reproduce", "tiny", *flags]) == 0
    said = capsys.readouterr().out
    assert "1 run has no result" in said
    assert "--retry-failed" in said
    assert not (run / "result.json").exists()
    assert main(["reproduce", "tiny", *flags, "--retry-failed"]) == 0
    assert "no result" not in capsys.readouterr().out
    assert (run / "result.json").exists()
    assert not (run / "failed.json").exists()


def test_the_flags_of_making_are_told_in_the_same_words(capsys):
    told = []
    for command in ("sweep", "reproduce"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        told.append(capsys.readouterr().out.partition("making options")[2])
    assert "--retry-failed" in told[0]
    assert told[0] == told[1]


def test_another_study_or_scale_is_refused_and_nothing_is_lost(inside, study, refused, held):
    study("other", {"later": {"base": {"data": "digits", "depth": 3, "width": 8, "steps": 5}}})
    assert main(["reproduce", "tiny", "--out", "mine", "--jobs", "1", "--json"]) == 0
    before = held(inside)
    said = refused(main, "reproduce", "other", "--out", "mine")
    assert "mine: holds study tiny at scale small, not other at scale small" in said
    assert "give another one" in said
    said = refused(main, "reproduce", "tiny", "--out", "mine", "--scale", "paper")
    assert "holds study tiny at scale small, not tiny at scale paper" in said
    refused(main, "reproduce", "other", "--out", "mine", "--dry-run")
    assert held(inside) == before
    # a directory that was made before they were claimed, by its record
    (inside / "mine" / "study.json").unlink()
    assert "holds study tiny" in refused(main, "reproduce", "other", "--out", "mine")
    assert main(["reproduce", "tiny", "--out", "mine", "--json"]) == 0


def interrupted(*_, **__):
    """In place of a sweep: Ctrl-C."""
    raise KeyboardInterrupt


def test_a_study_that_was_cut_off_holds_its_directory(inside, study, refused, monkeypatch):
    study("other", {"later": {"base": {"data": "digits", "depth": 3, "width": 8, "steps": 5}}})
    home = sys.modules["sparsefield.studies.making"]
    monkeypatch.setattr(home, "sweep", interrupted)
    assert main(["reproduce", "tiny", "--out", "mine"]) == 130
    assert "holds study tiny" in refused(main, "reproduce", "other", "--out", "mine")
    (inside / "mine" / "study.json").write_text("{")
    assert "study.json: is damaged" in refused(main, "reproduce", "tiny", "--out", "mine")


def test_a_directory_in_use_is_one_line(inside, refused, held):
    assert main(["reproduce", "tiny", "--jobs", "1", "--json"]) == 0
    before = held(inside / "studies" / "tiny-small" / "plane" / "runs")
    with only_sweep(inside / "studies" / "tiny-small" / "plane"):
        said = refused(main, "reproduce", "tiny", "--jobs", "1")
    assert "studies/tiny-small/plane: is held by another sweep" in said
    assert held(inside / "studies" / "tiny-small" / "plane" / "runs") == before
    assert main(["reproduce", "tiny", "--json"]) == 0


def test_an_out_that_is_a_file_is_one_line(inside, refused):
    (inside / "file").write_text("mine")
    assert "cannot be made a directory" in refused(main, "reproduce", "tiny", "--out", "file")
    assert (inside / "file").read_text() == "mine"


def test_a_documentation_without_its_introduction_is_one_line(capsys, tmp_path):
    (tmp_path / "records").mkdir()
    assert main(["report", str(tmp_path), "--docs", str(tmp_path / "docs")]) == 2
    err = capsys.readouterr().err
    assert "docs/results/intro.md: cannot be read" in err
    assert len(err.splitlines()) == 1
