"""Sweeps that an earlier version made or began; it trained runs together."""

import json
import shutil
from pathlib import Path

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.sweep import check, read_table, sweep
from sparsefield.train import TrainConfig

MADE = Path(__file__).resolve().parents[1] / "made_before"


@pytest.fixture
def unfinished(tmp_path):
    """Two pairs that trained together: one was cut after a checkpoint of theirs, one before."""
    return shutil.copytree(MADE / "sweep-unfinished", tmp_path / "s")


def again(directory, **how):
    return sweep(directory / "sweep.yaml", out=directory, jobs=2, **how)


def test_a_finished_sweep_reads_as_before(tmp_path):
    out = shutil.copytree(MADE / "sweep-finished", tmp_path / "s")
    before = read_table(out)
    found = again(out)
    assert list(found.rows) == before == read_table(out)
    assert [row["name"] for row in before] == ["q1-seed0", "q4-seed0", "q1-seed1", "q4-seed1"]


def test_an_unfinished_sweep_goes_on_to_its_end_alone(unfinished, tmp_path, table):
    found = again(unfinished)
    assert found.without_result == 0
    fresh = sweep(unfinished / "sweep.yaml", out=tmp_path / "fresh", jobs=2, progress=False)
    assert table(found.rows) == table(fresh.rows)


def test_a_field_that_is_newer_than_the_sweep_had_its_default(unfinished):
    path = unfinished / "plan.json"
    plan = json.loads(path.read_text())
    assert plan["runs"]["q1-seed0"].pop("warmup") == TrainConfig().warmup
    path.write_text(json.dumps(plan))
    check(unfinished / "sweep.yaml", out=unfinished)
    assert plan["runs"]["q1-seed0"].pop("epochs") != TrainConfig().epochs
    path.write_text(json.dumps(plan))
    with pytest.raises(InvalidInput, match="run q1-seed0 has epochs=None there, 60 here"):
        check(unfinished / "sweep.yaml", out=unfinished)
