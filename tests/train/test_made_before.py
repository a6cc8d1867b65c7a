"""Runs of earlier versions: read, and gone on with.

``made_before/runs`` holds a finished run and the same one interrupted after step 15, both made
before the loop, the locks and the schedule were what they are now.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsefield.data import load
from sparsefield.errors import InvalidInput
from sparsefield.train import load_config, load_model, read_run, train
from sparsefield.train.progress import Silent

RUNS = Path(__file__).parents[1] / "made_before" / "runs"
FINISHED, UNFINISHED = RUNS / "finished", RUNS / "unfinished"


@pytest.fixture
def copied(tmp_path):
    return lambda run: shutil.copytree(run, tmp_path / "copy")


def resumed(out, progress=False):
    return train(load_config(out / "config.yaml"), out=out, resume=True, progress=progress)


def same_weights(one, other):
    """The same to what another machine rounds otherwise."""
    pairs = zip(load_model(one).parameters(), load_model(other).parameters(), strict=True)
    return all(torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in pairs)


def test_a_finished_run_is_read():
    run, data = read_run(FINISHED), load("digits")
    assert (run.result.steps, run.metrics["step"].tolist()) == (22, [10, 20, 22])
    assert run.layers["step"].tolist() == [0, 0, 10, 10, 20, 20]
    right = load_model(FINISHED)(data.test_x).argmax(1) == data.test_y
    assert float(right.float().mean()) == pytest.approx(run.result.test_accuracy, abs=0.01)


def test_what_later_versions_record_is_missing_and_no_error():
    run = read_run(FINISHED)
    assert run.result.dead_share is None
    assert run.config.hold is None
    assert all(np.isnan(run.metrics[name]).all() for name in ("zeros", "hold_weight"))


def test_a_finished_run_is_left_as_it_is(copied):
    out = copied(FINISHED)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert resumed(out) == read_run(out).result
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_an_unfinished_run_ends_as_the_finished_one(copied):
    out = copied(UNFINISHED)
    assert resumed(out).steps == 22
    was, now = read_run(FINISHED), read_run(out)
    assert now.metrics["loss"] == pytest.approx(was.metrics["loss"], rel=1e-5)
    assert now.metrics["lr"] == pytest.approx(was.metrics["lr"], rel=1e-12)
    assert now.layers["q"] == pytest.approx(was.layers["q"], rel=1e-4)
    assert same_weights(out, FINISHED)


@pytest.mark.parametrize("lost", ["optimizer", "scheduler"])
def test_one_that_has_lost_a_part_does_not(copied, lost):
    out = copied(UNFINISHED)
    content = torch.load(out / "checkpoint", weights_only=True)
    content["state"][lost] |= {"state": {}} if lost == "optimizer" else {"last_epoch": 0}
    torch.save(content, out / "checkpoint")
    resumed(out)
    assert not same_weights(out, FINISHED)


def test_a_run_that_trained_with_others_is_read(copied):
    out = copied(FINISHED)
    content = json.loads((out / "result.json").read_text())
    content["hardware"]["together"] = 4
    (out / "result.json").write_text(json.dumps(content))
    assert read_run(out).result.hardware["together"] == 4


def test_a_run_begun_with_others_starts_anew(copied):
    out = copied(UNFINISHED)
    (out / "checkpoint").rename(out / "together")  # what those runs had in place of their own
    with pytest.raises(InvalidInput, match="already holds an unfinished run; resume it"):
        train(load_config(out / "config.yaml"), out=out, progress=False)
    other = load_config(out / "config.yaml", {"lr": 0.1})
    with pytest.raises(InvalidInput, match="another config .lr=0.0003 there, 0.1 here"):
        train(other, out=out, resume=True, progress=False)
    resumed(out)
    assert same_weights(out, FINISHED)
    assert {path.name for path in out.iterdir()} == {path.name for path in FINISHED.iterdir()}


class Begun(Silent):
    def begin(self, step):
        self.step = step


@pytest.mark.parametrize("left", [True, False])
def test_a_run_that_had_left_the_others_goes_on(copied, left):
    out, seen = copied(UNFINISHED), Begun()
    (out / "together").write_bytes(b"of all of them")
    if not left:
        (out / "checkpoint").unlink()
    assert resumed(out, progress=seen).steps == 22
    assert seen.step == (15 if left else 0)
