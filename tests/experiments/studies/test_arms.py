"""The tuned values are chosen by validation, and reported by test."""

import pytest

from sparsefield.errors import InvalidInput
from sparsefield.experiments.studies import arms, chosen

ARMS = [{"q": q, "lr": lr} for q in (1.0, 4.0) for lr in (1e-3, 1e-2)]


def by_rate(config, seed):
    """On the images kept apart the larger rate is better, on the test images the smaller."""
    large = config["lr"] > 5e-3
    return {"validation_accuracy": 0.6 + 0.1 * large, "test_accuracy": 0.9 - 0.2 * large}


def test_chosen_by_validation_and_reported_by_test(invented):
    record = invented(ARMS, by_rate)
    found = arms(record)
    assert [(arm["q"], arm.tuned) for arm in found] == [(1.0, {"lr": 1e-2}), (4.0, {"lr": 1e-2})]
    assert [arm.mean().estimate for arm in found] == pytest.approx([0.7, 0.7])
    by_test = chosen(record.rows, ["lr"], by="test_accuracy")  # the twin
    assert by_test[0].mean().estimate == pytest.approx(0.9)


def test_a_lost_run_counts_as_nothing(invented):
    """0.7 twice and nothing once is worse than 0.6 each time."""
    lost = lambda config, seed: (  # noqa: E731
        None if seed == 2 and config["lr"] > 5e-3 else by_rate(config, seed)
    )
    assert {arm.tuned["lr"] for arm in arms(invented(ARMS, lost))} == {1e-3}
    assert {arm.tuned["lr"] for arm in arms(invented(ARMS, by_rate))} == {1e-2}


def test_without_tuned_fields_every_config_is_an_arm(invented):
    found = arms(invented(ARMS, by_rate, tuned=()))
    assert len(found) == 4
    assert all(arm.n == 3 and arm.tuned == {} for arm in found)


def test_arms_of_some_values(invented):
    record = invented(ARMS, by_rate)
    assert [arm["q"] for arm in arms(record, "plane", q=4.0)] == [4.0]
    assert arms(record, "no such part") == arms(record, q=3.0) == ()


def test_nothing_kept_apart_is_said(invented):
    record = invented(ARMS, lambda config, seed: {"validation_accuracy": None})
    with pytest.raises(InvalidInput, match="set validation in the base"):
        arms(record)
    assert len(arms(invented(ARMS[::2], lambda c, s: {"validation_accuracy": None}))) == 2


def test_arms_without_any_result(invented):
    (arm, _) = arms(invented(ARMS, lambda config, seed: None))
    assert (arm.n, arm.failed, arm.mean().n, arm.tuned["lr"]) == (3, 3, 0, 1e-3)
    assert arm.failing().estimate == 1.0


def test_by_seed_and_within_what_can_be(invented):
    wide = lambda config, seed: {"test_accuracy": (0.2, 0.9, 1.0)[seed]}  # noqa: E731
    (arm, *_) = arms(invented(ARMS, wide))
    assert arm.by_seed() == {0: 0.2, 1: 0.9, 2: 1.0}
    assert (arm.mean().low, arm.mean().high) == (0.0, 1.0)
    assert arm.mean("logit_rms_end").high == 0.5
