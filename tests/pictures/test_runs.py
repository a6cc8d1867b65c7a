import json

import numpy as np
import pytest

from sparsefield.errors import InvalidInput
from sparsefield.pictures.report import beside
from sparsefield.pictures.runs import read_arms, title
from sparsefield.sweep.statistics import DIFFERENCES, SHARES, mean, paired


def test_runs_that_differ_in_the_seed_alone_are_one_arm(runs):
    arms = list(read_arms(runs).values())
    assert [len(arm.runs) for arm in arms] == [2, 2, 2, 2, 1]
    assert [row.seed for row in arms[0].rows] == [0, 1]
    assert [arm["skip"] for arm in arms] == [0.0, 0.5, 0.0, 0.0, 0.0]  # sorted by folder


def written(runs, arm):
    places = sorted((runs / arm).iterdir())
    return [json.loads((place / "result.json").read_text()) for place in places]


def test_an_arm_says_what_its_results_say_with_the_one_interval(runs):
    arm, results = next(iter(read_arms(runs).values())), written(runs, "a-plain")
    shares = {
        "test_accuracy": [result["test_accuracy"] for result in results],
        "zeros_init": [float(np.mean(result["sparsity_init"])) for result in results],
        "zeros_end": [result["sparsity_mean"] for result in results],
    }
    for name, values in shares.items():
        found = arm.mean(name)
        assert found == mean(values, within=SHARES)
        assert found.low < found.estimate < found.high


def test_arms_are_compared_seed_by_seed(runs):
    one, two = (
        {result["seed"]: result["test_accuracy"] for result in written(runs, arm)}
        for arm in ("a-plain", "b-skip")
    )
    said = beside(read_arms(runs))
    assert said[:2] == ["", paired(one, two, within=DIFFERENCES).show(100, signed=True)]
    assert said[4].endswith("[no interval]")  # the one seed that both have


def test_a_title_says_what_all_arms_share_and_nothing_else(runs):
    skip = read_arms(runs / "b-skip")
    assert title(skip) == (
        "digits, fully connected network, depth 3, width 24, skip 0.5, 70 % zeros aimed at"
    )
    assert title(read_arms(runs)) == "digits, fully connected network, depth 3, width 24"


@pytest.mark.parametrize("inside", ["", "a-plain", "a-plain/seed-0"])
def test_a_run_a_folder_and_a_folder_of_folders(runs, inside):
    assert len(read_arms(runs / inside)) == (5 if inside == "" else 1)


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
