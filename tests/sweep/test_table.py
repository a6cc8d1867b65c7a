import pytest

from sparsefield.sweep.failure import Failure, write_failure
from sparsefield.sweep.folder import place
from sparsefield.sweep.grid import read_grid
from sparsefield.sweep.statistics import NONE, mean
from sparsefield.sweep.table import read_table, rows, summaries, write_table
from sparsefield.train import train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two arms of two seeds: one run raised, one is not made yet."""
    base = {"depth": 3, "width": 16, "batch": 64, "steps": 5, "device": "cpu"}
    arms = [{"clip": 1.1}, {"family": "relu", "strides": [], "width": 20}]
    grid, out = read_grid({"base": base, "list": arms, "seeds": 2}), tmp_path_factory.mktemp("a")
    for run in grid.runs[:2]:
        train(run.config, out=place(out, run), progress=False)
    write_failure(place(out, grid.runs[2]), Failure("why", "raised"))
    return grid, out


def test_a_row_for_each_run_that_ended(made):
    grid, out = made
    table = rows(out, grid)
    assert [row["name"] for row in table] == [run.name for run in grid.runs[:3]]
    assert list(table[0]) == [
        *("name", "clip", "family", "strides", "width", "seed", "test_accuracy"),
        *("train_loss", "sparsity_init", "sparsity_end", "failed", "reason", "steps_made"),
        "seconds",
    ]
    assert (table[2]["failed"], table[2]["reason"], table[2]["test_accuracy"]) == (
        True,
        "why",
        None,
    )
    assert table[1]["clip"] is None


def test_the_file_holds_the_rows(made, tmp_path):
    grid, out = made
    table = rows(out, grid)
    write_table(tmp_path, table, grid)
    assert read_table(tmp_path) == table


def test_words_among_numbers_become_words(small, tmp_path):
    grid = read_grid(small())
    table = [
        {
            **dict.fromkeys(("test_accuracy", "train_loss", "sparsity_init", "sparsity_end")),
            "name": "a",
            "q": q,
            "seed": 0,
            "failed": True,
            "reason": "",
            "steps_made": None,
            "seconds": None,
        }
        for q in (1, "auto", None)
    ]
    write_table(tmp_path, table, grid)
    assert [row["q"] for row in read_table(tmp_path)] == ["1", "auto", None]


def test_an_arm_is_over_the_seeds_that_have_a_result(made):
    grid, out = made
    table = rows(out, grid)
    first, second = summaries(table, grid)
    assert (first.runs, first.failed) == (2, 1 + table[0]["failed"])
    accuracy = first.means["test_accuracy"]
    assert (accuracy.estimate, accuracy.n) == (table[0]["test_accuracy"], 1)
    assert not accuracy.known
    assert second.values["width"] == 20
    assert second.means["train_loss"].n == 1


def test_the_mean_of_an_arm_is_that_of_all_statistics_and_shares_stay_within_what_can_be(made):
    grid, out = made
    row = rows(out, grid)[0]
    seeds = [{**row, "test_accuracy": share, "train_loss": share} for share in (0.9, 0.99, 1.0)]
    (arm,) = summaries(seeds, grid)
    assert arm.means["test_accuracy"] == mean([0.9, 0.99, 1.0], within=(0, 1))
    assert arm.means["train_loss"] == mean([0.9, 0.99, 1.0])
    assert arm.means["train_loss"].high > 1


def test_an_arm_without_any_result_has_no_mean(made):
    grid, out = made
    (arm,) = summaries(rows(out, grid)[2:], grid)
    assert (arm.failed, arm.runs) == (1, 1)
    assert all(found is NONE for found in arm.means.values())
