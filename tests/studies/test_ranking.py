"""Rank correlations against scipy's, and which of two goes more closely with a third."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from sparsefield.studies.ranking import (
    closer,
    partial_rank_correlation,
    rank_correlation,
    spearman,
)


@pytest.fixture
def drawn():
    return np.random.default_rng(1).standard_normal((3, 40))


def test_the_rank_correlation_is_that_of_scipy(drawn):
    one, other = np.exp(drawn[0]), np.round(drawn[0] + drawn[1])  # with ties
    found = rank_correlation(one, other)
    assert found.estimate == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)
    assert found.estimate != pytest.approx(pearsonr(one, other).statistic, abs=1e-3)
    assert 0 < found.low < found.estimate < found.high < 1


def test_ranks_of_unlimited_values_and_of_equal_ones():
    assert rank_correlation([1, 2, 3], [2, 5, np.inf]).estimate == pytest.approx(1)
    assert float(spearman(np.ones(4), np.arange(4.0))) == 0.0


def test_the_closer_is_told_and_the_equally_close_is_not(drawn):
    target, near, far = drawn[0], drawn[0] + 0.1 * drawn[1], drawn[0] + 2 * drawn[2]
    assert closer(target, near, far).low > 0
    assert closer(target, far, near).high < 0
    alike = closer(target, target + drawn[1], target + drawn[2])
    assert not alike.excludes(0.0)


def test_what_a_third_explains_is_taken_away(drawn):
    cause = drawn[0]
    one, other = cause + 0.5 * drawn[1], cause + 0.5 * drawn[2]
    assert rank_correlation(one, other).excludes(0.0)
    assert not partial_rank_correlation(one, other, cause).excludes(0.0)
    assert partial_rank_correlation(one, other, np.arange(40.0)).excludes(0.0)


def test_few_arms_have_no_interval():
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]).estimate == pytest.approx(1)
    assert not rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]).known
    assert rank_correlation([1], [1]).n == 0


def test_one_order_in_all_resamples_has_no_interval():
    steps = np.arange(8.0)
    assert rank_correlation(steps, steps**3).estimate == pytest.approx(1)
    assert not rank_correlation(steps, steps**3).known
    assert not rank_correlation(steps, -steps).known
    swapped = [1.0, 0.0, *steps[2:]]
    assert rank_correlation(steps, swapped).known  # the twin
    assert not closer(steps, steps, swapped).known
    assert closer(steps, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 6.0], swapped).known
