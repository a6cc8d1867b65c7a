"""A study that has begun stays on its data: other data are noticed before anything is made."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from sparsefield.cli import main

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")
datasets = pytest.importorskip("datasets")
BASE = {"depth": 3, "width": 16, "sparsity": 0.7, "batch": 64, "steps": 10, "device": "cpu"}


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Put a small data set of ten classes, drawn from a seed, where SPARSEFIELD_DATA points."""
    provided = tmp_path / "provided"
    provided.mkdir()
    monkeypatch.setenv("SPARSEFIELD_DATA", str(provided))

    def put(name, seed, folder=provided):
        rng = np.random.default_rng(seed)
        features = datasets.Features(
            {
                "image": datasets.Image(),
                "label": datasets.ClassLabel(names=[str(digit) for digit in range(10)]),
            }
        )
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name / "data").mkdir(parents=True)
        for split, count in (("train", 100), ("test", 40)):
            images = [Image.fromarray(rng.integers(0, 256, (6, 5), np.uint8)) for _ in range(count)]
            rows = {"image": images, "label": [number % 10 for number in range(count)]}
            path = folder / name / "data" / f"{split}-00000-of-00001.parquet"
            datasets.Dataset.from_dict(rows, features=features).to_parquet(str(path))
        return folder / name

    return put


@pytest.fixture
def two(study):
    """A study of two parts on whatever is at hand."""
    base = {"data": "auto", **BASE}
    study("two", {"one": {"base": base, "seeds": 2}, "more": {"base": {**base, "q": 4}}})


def begun(folder):
    """The study cut off: of its first part a run is made, of its second none."""
    assert main(["reproduce", "two", "--jobs", "1", "--json"]) == 0
    shutil.rmtree(folder / "studies/two-small/one/runs/seed1")
    shutil.rmtree(folder / "studies/two-small/more")
    (folder / "studies/two-small/record.json").unlink()
    return folder / "studies/two-small"


def record(folder):
    return json.loads((folder / "record.json").read_text())


def test_data_that_came_at_hand_since_are_refused(here, two, pictures, refused, held, capsys):
    folder = begun(here)
    before = held(folder)
    pictures("mnist", 1)
    said = refused(main, "reproduce", "two", "--jobs", "1")
    assert "studies/two-small/one: run seed0 is on data digits (SHA-256 " in said
    assert "and data mnist is" in said
    assert "give data digits again, or give another directory" in said
    refused(main, "reproduce", "two", "--dry-run")
    assert held(folder) == before
    assert {path.name for path in folder.iterdir()} == {"one", "study.json", "two.md", "two.svg"}
    # the remedies
    assert main(["reproduce", "two", "--jobs", "1", "--data", "digits", "--json"]) == 0
    assert {part["config"]["data"] for part in record(folder)["parts"].values()} == {"digits"}
    assert main(["reproduce", "two", "--jobs", "1", "--out", "new", "--json"]) == 0
    assert {part["config"]["data"] for part in record(here / "new")["parts"].values()} == {"mnist"}


def test_other_data_of_the_same_name_are_refused(here, two, pictures, refused, held):
    pictures("mnist", 1)
    folder = begun(here)
    before = held(folder)
    pictures("mnist", 2)
    said = refused(main, "reproduce", "two", "--jobs", "1")
    assert "run seed0 is on data mnist (SHA-256 " in said
    assert "bring those back, or give another directory" in said
    assert held(folder) == before
    pictures("mnist", 1)
    assert main(["reproduce", "two", "--jobs", "1", "--json"]) == 0


def test_before_any_run_has_ended_the_plan_knows_the_data(here, two, pictures, refused):
    folder = begun(here)
    shutil.rmtree(folder / "one" / "runs" / "seed0")
    pictures("mnist", 1)
    assert "run seed0 is on data digits" in refused(main, "reproduce", "two", "--jobs", "1")
    # and a plan of before it knew leaves it to the runs
    plan = json.loads((folder / "one" / "plan.json").read_text())
    (folder / "one" / "plan.json").write_text(json.dumps({"runs": plan["runs"]}))
    assert main(["reproduce", "two", "--jobs", "1", "--json"]) == 0
    assert {part["config"]["data"] for part in record(folder)["parts"].values()} == {"mnist"}


def test_a_sweep_stays_on_its_data_too(here, pictures, refused, held):
    pictures("mnist", 1)
    (here / "a.yaml").write_text(json.dumps({"base": {**BASE, "data": "mnist"}, "seeds": 2}))
    assert main(["sweep", "a.yaml", "--jobs", "1", "--json"]) == 0
    shutil.rmtree(here / "sweeps" / "a" / "runs" / "seed1")
    before = held(here / "sweeps")
    pictures("mnist", 2)
    assert "run seed0 is on data mnist" in refused(main, "sweep", "a.yaml", "--jobs", "1")
    assert held(here / "sweeps") == before


def test_the_same_data_by_another_name_go_on(here, pictures, tmp_path):
    made = pictures("mnist", 1)
    (here / "a.yaml").write_text(json.dumps({"base": {**BASE, "data": "mnist"}, "seeds": 1}))
    assert main(["sweep", "a.yaml", "--jobs", "1", "--json"]) == 0
    (here / "a.yaml").write_text(json.dumps({"base": {**BASE, "data": str(made)}, "seeds": 2}))
    assert main(["sweep", "a.yaml", "--jobs", "1", "--json"]) == 0


def test_a_record_names_the_owner_of_data_and_no_place_of_the_machine(
    here, two, pictures, tmp_path
):
    pictures("someone/mnist", 1)
    flags = ["--jobs", "1", "--json", "--out"]
    assert main(["reproduce", "two", "--data", "someone/mnist", *flags, "hub"]) == 0
    assert record(here / "hub")["parts"]["one"]["config"]["data"] == "someone/mnist"
    assert "--data someone/mnist" in (here / "hub" / "two.md").read_text()
    own = pictures("own", 2, tmp_path / "place")
    assert main(["reproduce", "two", "--data", str(own), *flags, "own"]) == 0
    assert record(here / "own")["parts"]["one"]["config"]["data"] == "own"
    for name in ("record.json", "two.md"):
        assert str(tmp_path) not in (here / "own" / name).read_text()
