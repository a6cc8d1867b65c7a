"""Pieces: no worker is left idle that a smaller piece would have fed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefield.sweep.cutting import MEMORY, MOST, cut, makespan, room
from sparsefield.sweep.plan import Planned
from sparsefield.sweep.workload import step_weight
from sparsefield.train import TrainConfig
from sparsefield.train.grouping import parted


def runs(count, **fields):
    configs = [TrainConfig(seed=seed, **fields) for seed in range(count)]
    return [Planned(f"{fields}{config.seed}", config) for config in configs]


def work(run):
    return step_weight(run.config)


def sizes(found):
    return [len(piece) for piece in found]


@pytest.mark.parametrize(
    ("count", "jobs", "expected"),
    [
        (3, 2, [2, 1]),
        (4, 4, [1, 1, 1, 1]),
        (5, 4, [2, 2, 1]),
        (9, 1, [5, 4]),
        (16, 2, [8, 8]),
        (18, 2, [5, 5, 4, 4]),
        (40, 2, [7, 7, 7, 7, 6, 6]),
        (2, 16, [1, 1]),
    ],
)
def test_runs_of_one_kind(count, jobs, expected):
    assert sizes(cut(runs(count), work=work, jobs=jobs)) == expected


def test_kinds_that_fill_a_worker_each_are_not_cut():
    both = [*runs(4, depth=30), *runs(4, depth=31)]
    assert sizes(cut(both, work=work, jobs=2)) == [4, 4]
    assert sizes(cut(both, work=work, jobs=4)) == [2, 2, 2, 2]


def test_a_large_kind_is_cut_smaller_than_a_small_one_and_comes_first():
    large, small = runs(4, width=1000, depth=5), runs(16, width=20, depth=5)
    found = cut([*small, *large], work=work, jobs=2)
    assert [piece[0].config.width for piece in found][:2] == [1000, 1000]
    assert max(len(piece) for piece in found if piece[0].config.width == 20) > 2


KINDS = st.lists(
    st.tuples(st.integers(1, 25), st.integers(1, 60), st.sampled_from([16, 100, 300])),
    max_size=4,
    unique_by=lambda kind: kind[1:],
)


@given(KINDS, st.integers(0, 5), st.integers(1, 9))
def test_every_run_is_in_one_piece_and_no_cut_is_done_later(kinds, own, jobs):
    free = [run for n, depth, width in kinds for run in runs(n, depth=depth, width=width)]
    alone = runs(own, depth=61)
    found = cut(free, alone=alone, work=work, jobs=jobs)
    assert sorted(run.name for piece in found for run in piece) == sorted(
        run.name for run in [*free, *alone]
    )
    for piece in found:
        assert len(piece) <= room(piece[0].config) <= MOST
        assert len(piece) == 1 or parted([run.config for run in piece]) is None
        assert len(piece) == 1 or not set(piece) & set(alone)
    costs = [sum(map(work, piece)) for piece in found]
    assert costs == sorted(costs, reverse=True)
    gained = [cost * (0.8 if piece[1:] else 1) for cost, piece in zip(costs, found, strict=True)]
    single = sorted(map(work, [*free, *alone]), reverse=True)
    assert makespan(gained, jobs) <= 1.05 * makespan(single, jobs)


def test_the_largest_pieces_alone_would_leave_workers_idle():
    """What the property above forbids does happen to pieces that are never cut."""
    many = runs(9)
    whole = [8 * work(many[0]), work(many[0])]
    assert makespan(whole, 9) * 0.8 > makespan(map(work, many), 9)


def test_members_of_a_piece_fit_in_memory():
    for depth, width in ((30, 100), (30, 300), (100, 300), (100, 500)):
        (one,) = runs(1, depth=depth, width=width)
        assert room(one.config) * 32 * depth * width**2 <= MEMORY
    assert room(runs(1, depth=30, width=300)[0].config) == MOST
    assert room(runs(1, depth=100, width=2000)[0].config) == 1
    assert room(runs(1, network="cnn")[0].config) == 1
