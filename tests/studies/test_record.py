"""A record goes to its file and back, and a damaged one is one line."""

import json

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.studies import read_record, write_record
from sparsefield.studies.record import MEASURES


def test_there_and_back(made, tmp_path):
    path = tmp_path / "a.json"
    write_record(path, made.record)
    assert read_record(path) == made.record == read_record(made.paths["record"])
    assert path.read_bytes() == made.paths["record"].read_bytes()


def test_one_run_a_line(made):
    text = made.paths["record"].read_text()
    lines = [line for line in text.splitlines() if line.startswith('  {"part"')]
    assert len(lines) == len(made.record.rows) == 9
    first = json.loads(lines[0].rstrip(","))
    assert list(first) == ["part", "q", "lr", "seed", *MEASURES]
    assert "NaN" not in text


def test_what_a_record_says_of_itself(made):
    record = made.record
    assert {part: told["fields"] for part, told in record.parts.items()} == {
        "plane": ["q", "lr"],
        "alone": [],
    }
    assert record.parts["plane"]["config"]["width"] == 20
    assert "q" not in record.parts["plane"]["config"]
    row = record.rows[0]
    assert (row["q"], row["lr"], row["depth"], row["seed"], row["part"]) == (
        0.25,
        1e-3,
        3,
        0,
        "plane",
    )
    assert record.made["seconds"] > 0
    assert record.made["hardware"]["threads"] == ["1"]
    assert set(record.made["versions"]) == {"python", "torch", "numpy", "sparsefield"}
    assert len({told["digest"] for told in record.parts.values()}) == 1


DAMAGE = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "a list": lambda text: "[]",
    "another format": lambda text: text.replace('"format": 1', '"format": 99'),
    "a measure less": lambda text: text.replace('"zeros_end": ', '"zeroes": ', 1),
    "an unknown part": lambda text: text.replace('{"part": "plane"', '{"part": "plain"', 1),
    "binary": lambda text: "\x00\xff",
}


def test_a_record_from_before_thresholds_is_read(made, tmp_path):
    text = made.paths["record"].read_text()
    path = tmp_path / "old.json"
    path.write_text(text.replace(', "thresholded": null', ""))
    assert "thresholded" not in path.read_text()
    assert read_record(path) == made.record
    path.write_text(text.replace(', "q_end": ', ', "another": '))  # the twin
    with pytest.raises(InvalidInput, match="KeyError: 'q_end'"):
        read_record(path)


def test_a_list_goes_there_and_back(invented, tmp_path):
    curve = [[0.9, 0.75, 0.89], [0.95, None, 0.94]]
    path = tmp_path / "a.json"
    record = invented([{"lr": 1e-3}], lambda config, seed: {"thresholded": curve})
    write_record(path, record)
    assert read_record(path) == record
    assert read_record(path).rows[0]["thresholded"] == curve


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_one_line(made, tmp_path, damage):
    path = tmp_path / "a.json"
    path.write_text(DAMAGE[damage](made.paths["record"].read_text()))
    with pytest.raises(InvalidInput, match="is damaged or no record of a study") as error:
        read_record(path)
    assert len(str(error.value).splitlines()) == 1


def test_no_record_there(tmp_path):
    with pytest.raises(InvalidInput, match="there is no such record"):
        read_record(tmp_path / "a.json")


def test_a_write_that_fails_leaves_the_old_one(made, tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_record(path, made.record)
    held = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_record(path, made.record)
    assert path.read_bytes() == held
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]
