"""Which runs can train together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefield.train import TrainConfig, groups
from sparsefield.train.grouping import SHARED, batchable, parted, representative

NUMBERS = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 9),
        "sparsity": st.sampled_from([0.6, 0.8, 0.9]),
        "q": st.sampled_from([1.0, 4.0]),
        "lr": st.sampled_from([1e-3, 1e-2]),
        "head_gain": st.sampled_from([1.0, 3.0]),
        "grad_clip": st.sampled_from([0.5, 1.0]),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "schedule": st.sampled_from(["cosine", "constant"]),
    },
)
KINDS = st.fixed_dictionaries(
    {},
    optional={
        "depth": st.sampled_from([3, 30]),
        "network": st.sampled_from(["dnn", "cnn"]),
        "precision": st.sampled_from(["fp32", "bf16"]),
        "optimizer": st.sampled_from(["sgd", "adam"]),
        "skip": st.sampled_from([0.0, 0.5, 0.9]),
        "epochs": st.sampled_from([1, 2]),
    },
)
CONFIGS = st.lists(st.builds(lambda a, b: TrainConfig(**a, **b), NUMBERS, KINDS), max_size=12)


@given(CONFIGS)
def test_every_run_is_in_one_group_and_a_group_can_train_together(configs):
    found = groups(configs)
    assert sorted(index for group in found for index in group) == list(range(len(configs)))
    for group in found:
        members = [configs[index] for index in group]
        assert len(group) == 1 or parted(members) is None


@given(CONFIGS)
def test_no_two_groups_could_have_been_one(configs):
    found = groups(configs)
    for one in found:
        for other in found:
            if one < other:
                assert parted([configs[one[0]], configs[other[0]]]) is not None


@given(st.lists(NUMBERS, min_size=2, max_size=6), st.sampled_from([0.0, 0.5]))
def test_runs_that_differ_in_numbers_are_one_group(changes, skip):
    assert len(groups([TrainConfig(skip=skip, **change) for change in changes])) == 1


@pytest.mark.parametrize(
    "change",
    [
        *({"depth": 5}, {"width": 20}, {"batch": 64}, {"epochs": 3}, {"steps": 9}),
        *({"family": "cst"}, {"optimizer": "sgd"}, {"data": "mnist"}, {"normalise": "none"}),
        *({"log_every": 7}, {"monitor_every": 7}, {"skip": 0.5}, {"threads": 1}),
        *({"device": "cpu"}, {"validation": 0.1}),
    ],
)
def test_runs_of_other_kinds_are_apart_and_the_reason_names_the_field(change):
    pair = [TrainConfig(), TrainConfig(**change)]
    assert groups(pair) == [[0], [1]]
    assert next(iter(change)) in parted(pair)


@pytest.mark.parametrize(
    "change",
    [
        *({"network": "cnn"}, {"precision": "bf16"}, {"lr_head": 0.5}, {"family": "topk"}),
        {"penalty": "l1", "penalty_weight": 0.0},
    ],
)
def test_some_kinds_train_alone(change):
    twice = [TrainConfig(**change), TrainConfig(**change)]
    assert not batchable(twice[0])
    assert groups(twice) == [[0], [1]]
    assert next(iter(change)) in parted(twice)


def test_plain_relu_trains_together():
    plain = [TrainConfig(family="relu", sparsity=0.5, seed=seed) for seed in range(3)]
    assert batchable(plain[0])
    assert groups(plain) == [[0, 1, 2]]


def test_nothing_to_group():
    assert groups([]) == []


def test_every_shared_name_is_a_field_and_is_kept_by_the_representative():
    run = TrainConfig(depth=7, batch=32, sparsity=0.8, seed=3, lr=0.5)
    kept = representative(run)
    assert set(SHARED) <= set(TrainConfig.model_fields)
    assert all(getattr(kept, name) == getattr(run, name) for name in SHARED)
    assert kept.seed == TrainConfig().seed
