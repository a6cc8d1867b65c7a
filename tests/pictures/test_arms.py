import json
import math

import numpy as np
import pytest

from sparsefield.errors import InvalidInput
from sparsefield.pictures.arms import read_arms
from sparsefield.sweep.spread import Spread, spread
from sparsefield.train import TrainConfig


def test_runs_that_differ_in_the_seed_alone_are_one_arm(runs):
    arms = read_arms(runs)
    assert [arm.n for arm in arms] == [2, 2, 2, 2, 1]
    assert [run.config.seed for run in arms[0].runs] == [0, 1]
    assert [place.parent.name for arm in arms for place in arm.places[:1]] == sorted(
        path.name for path in runs.iterdir()
    )


def test_an_arm_says_what_its_results_say(runs):
    arm = read_arms(runs)[0]
    written = [
        json.loads((runs / "a-plain" / f"seed-{seed}" / "result.json").read_text())
        for seed in (0, 1)
    ]
    for name, key in (("accuracy", "test_accuracy"), ("sparsity_end", "sparsity_mean")):
        values = [result[key] for result in written]
        assert getattr(arm, name) == spread(values)
    start = [np.mean(result["sparsity_init"]) for result in written]
    assert arm.sparsity_init.mean == pytest.approx(np.mean(start))
    assert arm.sparsity_init.sd == pytest.approx(abs(start[0] - start[1]) / math.sqrt(2))


@pytest.mark.parametrize("inside", ["", "a-plain", "a-plain/seed-0"])
def test_a_run_a_folder_and_a_folder_of_folders(runs, inside):
    assert len(read_arms(runs / inside)) == (5 if inside == "" else 1)


def test_a_spread_of_one_value_has_no_deviation():
    assert math.isnan(spread([0.5]).sd)
    assert spread([0.5]).percent() == "50.0 %"
    assert Spread(0.5, 0.01, 3).percent() == "50.0 ± 1.0 %"


def test_no_such_directory(tmp_path):
    with pytest.raises(InvalidInput, match="absent: there is no such directory"):
        read_arms(tmp_path / "absent")


def test_a_directory_without_runs(tmp_path):
    with pytest.raises(InvalidInput, match="holds no run .*; give the directory of a run"):
        read_arms(tmp_path)


def test_an_unfinished_run(own_runs):
    (own_runs / "seed-1" / "result.json").unlink()
    with pytest.raises(InvalidInput, match="seed-1: holds no result.json, the run is not finished"):
        read_arms(own_runs)


@pytest.mark.parametrize("name", ["result.json", "metrics.parquet", "layers.parquet"])
def test_a_damaged_file(own_runs, name):
    path = own_runs / "seed-0" / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidInput, match=f"{name}: is damaged") as caught:
        read_arms(own_runs)
    assert "\n" not in str(caught.value)


def test_a_damaged_config(own_runs):
    (own_runs / "seed-0" / "config.yaml").write_text("depth: [")
    with pytest.raises(InvalidInput, match="not valid YAML"):
        read_arms(own_runs)


def test_configs_of_arms_are_those_of_their_first_seed(runs):
    assert isinstance(read_arms(runs)[1].config, TrainConfig)
    assert read_arms(runs)[1].config.skip == 0.5
