import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefield.errors import InvalidInput
from sparsefield.sweep.grid import MOST, read_grid

VALUES = {
    "q": st.floats(0.1, 9.0),
    "depth": st.integers(1, 50),
    "lr": st.floats(1e-5, 1.0),
    "skip": st.sampled_from([0.0, 0.5, 0.9]),
    "optimizer": st.sampled_from(["sgd", "adam"]),
}


def grids():
    return st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=3).flatmap(
        lambda names: st.fixed_dictionaries(
            {name: st.lists(VALUES[name], min_size=1, max_size=3, unique=True) for name in names}
        )
    )


def test_rivals_can_be_swept_over():
    dense = {"family": "relu", "sparsity": 0.5, "penalty": "hoyer"}
    grid = read_grid({"base": dense, "grid": {"penalty_weight": [0, 0.3]}})
    assert [run.name for run in grid.runs] == ["penalty_weight0-seed0", "penalty_weight0.3-seed0"]
    winners = read_grid({"base": {"family": "topk"}, "grid": {"sparsity": [0.8, 0.95]}})
    assert [run.config.point().share for run in winners.runs] == pytest.approx([0.2, 0.05])
    with pytest.raises(InvalidInput, match=r"run sparsity0.8-seed0: clip=1 with family=topk"):
        read_grid({"base": {"family": "topk", "clip": 1.0}, "grid": {"sparsity": [0.8]}})


@given(grids().filter(bool), st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True))
def test_a_grid_is_every_combination_once(grid, seeds):
    found = read_grid({"grid": grid, "seeds": seeds})
    made = {(run.config.seed, *(getattr(run.config, name) for name in grid)) for run in found.runs}
    assert len(found.runs) == len(made) == len(seeds) * math.prod(map(len, grid.values()))
    assert len({run.name for run in found.runs}) == len(found.runs)
    assert found.fields == tuple(grid)
    for name, values in grid.items():
        assert {getattr(run.config, name) for run in found.runs} == set(values)
    assert [run.config.seed for run in found.runs] == sorted(
        (run.config.seed for run in found.runs), key=seeds.index
    )  # every arm has a result early


@given(grids().filter(bool))
def test_more_values_and_seeds_rename_no_run(grid):
    few = read_grid({"grid": {name: values[:1] for name, values in grid.items()}})
    many = read_grid({"grid": grid, "seeds": 3})
    configs = {run.name: run.config for run in many.runs}
    assert all(configs[run.name] == run.config for run in few.runs)


def test_a_list_names_arms_and_meets_the_grid():
    grid = read_grid(
        {
            "base": {"depth": 4, "clip": 1.2},
            "list": [{"family": "relu"}, {"m": 2.0, "q": 2}],
            "grid": {"lr": [0.1, 0.2]},
        }
    )
    assert grid.fields == ("family", "m", "q", "lr")
    assert [run.name for run in grid.runs] == [
        "familyrelu-lr0.1-seed0",
        "familyrelu-lr0.2-seed0",
        "m2-q2-lr0.1-seed0",
        "m2-q2-lr0.2-seed0",
    ]
    relu, other = grid.runs[0].config, grid.runs[2].config
    assert (relu.clip, relu.m) == (None, None)  # the base's clip is void for an unclipped family
    assert (other.clip, other.m, other.depth) == (None, 2.0, 4)


def test_configs_are_complete_and_their_threads_fixed():
    (auto,) = read_grid({"base": {"clip": "auto", "depth": 9}}).runs
    (typical,) = read_grid({"base": {"clip": 0.5, "chi1": "typical", "depth": 9}}).runs
    assert isinstance(auto.config.clip, float)
    assert typical.config.chi1 > 1.0
    assert (auto.config.lr, auto.config.threads) == (3e-4, 1)
    assert read_grid({"base": {"threads": 3}}).runs[0].config.threads == 3


def test_the_base_may_be_a_file_beside(tmp_path):
    (tmp_path / "base.yaml").write_text("depth: 7\nseed: 5\n")
    (tmp_path / "sweep.yaml").write_text("base: base.yaml\ngrid:\n  q: [1, 2]\n")
    grid = read_grid(tmp_path / "sweep.yaml")
    assert [run.name for run in grid.runs] == ["q1-seed5", "q2-seed5"]
    assert {run.config.depth for run in grid.runs} == {7}
    assert grid.text.startswith("base: base.yaml")


def test_names_that_no_file_can_have_are_replaced_and_kept_apart():
    grid = read_grid({"grid": {"data": ["a/b", "a_b", "a b"]}})
    names = [run.name for run in grid.runs]
    assert len(set(names)) == 3
    assert all("/" not in name and " " not in name for name in names)


BAD = {
    "unknown key": ({"grids": {"q": [1]}}, "unknown key 'grids'.*base, grid, list, seeds"),
    "unknown field": ({"grid": {"widht": [1]}}, "grid: unknown key 'widht'.*'width'"),
    "unknown field of the base": ({"base": {"dept": 1}}, "base: unknown key 'dept'.*'depth'"),
    "unknown field of the list": ({"list": [{"qq": 1}]}, "list: unknown key 'qq'"),
    "empty values": ({"grid": {"q": []}}, "grid: q=.*at least one value"),
    "no list of values": ({"grid": {"q": 4}}, "grid: q=4: must be a list"),
    "mapping as value": ({"grid": {"q": [{}]}}, "no value of a field"),
    "empty grid": ({"grid": {}}, "grid={}: is empty"),
    "empty list": ({"list": []}, "list=.*is empty"),
    "list of numbers": ({"list": [3]}, "list=3: must be a mapping"),
    "base of numbers": ({"base": [3]}, "base=.*must be a mapping"),
    "value twice": ({"grid": {"q": [4, 4.0]}}, "grid: q: 4 is there twice"),
    "seed twice": ({"seeds": [1, 1]}, "seeds: 1 is there twice"),
    "no seeds": ({"seeds": []}, "seeds=.*at least one value"),
    "0 seeds": ({"seeds": 0}, "seeds=0: must be at least 1"),
    "seeds by a switch": ({"seeds": True}, "seeds=True"),
    "seed below 0": ({"seeds": [-1]}, "run seed-1: seed=-1"),
    "seed in the grid": ({"grid": {"seed": [1]}}, "seed belongs under seeds"),
    "both": ({"grid": {"q": [1]}, "list": [{"q": 2}]}, "q: is both in grid and in list"),
    "same arm": ({"list": [{"q": 1}, {"q": 1}]}, "runs q1-seed0 and q1-seed0 are the same"),
    "same run": ({"grid": {"clip": [1.1, None]}}, "clip1.1-seed0 and clipnone-seed0 are the same"),
    "bad value": ({"grid": {"q": [1, -1]}}, "run q-1-seed0: q=-1"),
    "impossible": ({"list": [{"family": "relu", "clip": 2.0}]}, "run .*not clipped"),
    "no point": ({"base": {"slope": 5.0}}, "run seed0: .*slope"),
    "too many seeds": ({"seeds": MOST + 1}, "100001 runs: more than 100000"),
    "more than can be": (
        {"grid": {"depth": list(range(1, 500)), "width": list(range(1, 500))}},
        "249001 runs: more than 100000",
    ),
}


@pytest.mark.parametrize(("content", "says"), BAD.values(), ids=BAD)
def test_a_mistake_is_one_line(content, says):
    with pytest.raises(InvalidInput, match=says) as caught:
        read_grid(content)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "a.yaml"
    with pytest.raises(InvalidInput, match="a.yaml: there is no such file"):
        read_grid(path)
    path.write_text("grid: [q")
    with pytest.raises(InvalidInput, match="a.yaml: not valid YAML"):
        read_grid(path)
    path.write_text("base: nowhere.yaml")
    with pytest.raises(InvalidInput, match="a.yaml: .*nowhere.yaml: there is no such file"):
        read_grid(path)
