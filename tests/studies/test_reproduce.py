"""reproduce(): resumed like any sweep, estimated before, refused in one line."""

import json
import shutil
from dataclasses import replace

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.studies import estimated, read_study, reproduce
from sparsefield.studies.recording import made_record


def without_seconds(record):
    rows = [replace(row, measures={**row.measures, "seconds": 0}) for row in record.rows]
    made = {**record.made, "seconds": 0.0, "commits": []}
    return replace(record, rows=tuple(rows), made=made)


@pytest.fixture
def own(made, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(made.directory, tmp_path / "own")


def test_what_is_made(made):
    names = {path.name for path in made.directory.iterdir()}
    assert names == {"plane", "alone", "record.json", "study.json", "tiny.md"}
    assert len(made.record.rows) == 9
    assert [row["failed"] for row in made.record.rows][-1]
    answer = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert answer["data"] == ["digits"]
    assert [one["name"] for one in answer["effects"]] == ["q", "accuracy"]
    assert answer["effects"][0]["found"]["n"] == 2
    assert answer["not_borne_out"] == []


def test_a_claim_that_is_not_borne_out_is_listed_and_stops_nothing(tiny, own):
    found = reproduce(replace(tiny, page="# Tiny\n\nNo {open q, nested falls}.\n"), out=own)
    (line,) = found.unborne
    assert "effect q: the page says open q, nested falls, the record " in line
    assert (own / "tiny.md").read_text().startswith("> **The text was written for another record.")


def test_a_finished_study_is_only_read_anew(tiny, own, made):
    for name in ("record.json", "tiny.md"):
        (own / name).unlink()
    reproduce(tiny, out=own, progress=False)
    for name in ("record.json", "tiny.md"):
        assert (own / name).read_bytes() == (made.directory / name).read_bytes()


def test_progress_says_which_part_and_what_is_measured(tiny, own, capsys):
    reproduce(tiny, out=own, progress=True)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "part plane, 1 of 2: 8 runs, 8 of them ended before",
        "part alone, 2 of 2: 1 run, 1 of them ended before",
        "measuring the networks of 9 runs",
    ]
    reproduce(tiny, out=own, progress=False)
    assert capsys.readouterr() == ("", "")


def test_another_scale_is_refused(tiny, own):
    with pytest.raises(InvalidInput, match="holds study tiny at scale small, not tiny at scale pa"):
        reproduce(tiny, scale="paper", data="digits", out=own, progress=False)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"workers": "local", "address": "1.2.3.4:5"}, "belongs to workers ray"),
        ({"jobs": 0}, "must be at least 1"),
    ],
)
def test_how_runs_are_made_is_checked_before_anything(tiny, tmp_path, how, says):
    with pytest.raises(InvalidInput, match=says):
        reproduce(tiny, out=tmp_path / "new", progress=False, **how)
    assert not (tmp_path / "new").exists()


def test_goes_on_where_it_was_to_the_same_end(tiny, own, made):
    (lost,) = (own / "alone" / "runs").iterdir()
    shutil.rmtree(lost)
    again = reproduce(tiny, out=own, jobs=1, progress=False)
    assert (lost / "result.json").exists()
    assert without_seconds(again.record) == without_seconds(made.record)


def test_a_run_without_a_result_counts_as_failed(tiny, own):
    lost = own / "plane" / "runs" / "q4-lr0.001-seed1"
    (lost / "result.json").unlink()
    failure = {"reason": "was killed", "kind": "killed", "attempts": 2}
    (lost / "failed.json").write_text(json.dumps(failure))
    found = reproduce(tiny, out=own, progress=False).record
    (row,) = [row for row in found.rows if row["reason"] == "was killed"]
    assert (row["q"], row["lr"], row.seed, row["failed"]) == (4.0, 1e-3, 1, True)
    assert row["test_accuracy"] is None


def test_runs_on_two_data_sets_are_refused(tiny, own):
    path = own / "plane" / "runs" / "q4-lr0.001-seed1" / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "data_digest": "f" * 64}))
    with pytest.raises(InvalidInput, match="run q4-lr0.001-seed1 is on data digits .SHA-256 ffff"):
        reproduce(tiny, out=own, progress=False)
    with pytest.raises(InvalidInput, match="made on 2 different data sets"):
        made_record(tiny, "small", tiny.parts(), own, progress=False)


def test_the_cost_is_that_of_all_parts(tiny, tmp_path, made):
    found = estimated(tiny, out=tmp_path / "new", jobs=1)
    assert (found.runs, found.ended, found.steps) == (9, 0, 270)
    assert found.seconds > 0
    assert not (tmp_path / "new").exists()
    assert estimated(tiny, out=made.directory).ended == 9


def test_a_part_that_cannot_be_is_named_before_anything_runs(content, tmp_path):
    parts = {**content["small"], "later": {"base": {"depth": -1}}}
    odd = read_study("odd", {**content, "small": parts})
    with pytest.raises(InvalidInput, match="study odd, part later: run seed0: depth=-1"):
        reproduce(odd, out=tmp_path / "new", progress=False)
    assert not (tmp_path / "new").exists()
