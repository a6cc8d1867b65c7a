import math

import pytest
import torch

from sparsefield.train.verdict import chance, failure


def test_chance_is_the_share_of_the_most_common_class():
    assert chance(torch.tensor([0, 1, 1, 1, 2])) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("loss", "accuracy", "failed"),
    [
        (1.0, 0.19, False),  # exactly a tenth of the way from 0.1 to 1
        (1.0, 0.1899, True),
        (1.0, 0.05, True),
        (1.0, 1.0, False),
        (1e14, 0.1, True),
        (math.nan, 0.9, True),
        (math.inf, 0.9, True),
    ],
)
def test_what_counts_as_failed(loss, accuracy, failed):
    reason = failure(loss, accuracy, 0.1, step=7, lr=0.5)
    assert (reason is not None) == failed


def test_reasons_hold_value_rule_and_remedy():
    assert "loss=nan by step 7 (lr=0.5): diverged; lower lr" in failure(
        math.nan, 0.5, 0.1, step=7, lr=0.5
    )
    assert "loss=1e+14 by step 7 (lr=0.5), where guessing costs 2.3: diverged" in failure(
        1e14, 0.1, 0.1, step=7, lr=0.5
    )
    assert "test_accuracy=0.1000 after 7 steps: below 0.1900" in failure(
        1.0, 0.1, 0.1, step=7, lr=0.5
    )
