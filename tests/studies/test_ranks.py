"""Rank correlations against scipy's, and what is left where a third is held."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from sparsefield.studies.ranks import rank_correlation


@pytest.fixture
def drawn():
    return np.random.default_rng(1).standard_normal((3, 40))


def test_the_rank_correlation_is_that_of_scipy(drawn):
    one, other = np.exp(drawn[0]), np.round(drawn[0] + drawn[1])  # with ties
    found = rank_correlation(one, other)
    assert found.estimate == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)
    assert found.estimate != pytest.approx(pearsonr(one, other).statistic, abs=1e-3)
    assert 0 < found.low < found.estimate < found.high < 1
    assert rank_correlation(one[::-1], other[::-1]) == found  # in any order


def test_ranks_of_unlimited_values_and_of_equal_ones():
    assert rank_correlation([1, 2, 3], [2, 5, np.inf]).estimate == pytest.approx(1)
    assert rank_correlation([1, 1, 1, 1], [0, 1, 2, 3]).estimate == 0.0


def test_what_a_third_explains_is_taken_away(drawn):
    cause = drawn[0]
    one, other = cause + 0.5 * drawn[1], cause + 0.5 * drawn[2]
    assert rank_correlation(one, other).excludes(0.0)
    assert not rank_correlation(one, other, cause).excludes(0.0)
    assert rank_correlation(one, other, np.arange(40.0)).excludes(0.0)


def test_few_arms_have_no_interval():
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]).estimate == pytest.approx(1)
    assert not rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]).known
    assert rank_correlation([1], [1]).n == 0


def test_one_order_in_all_resamples_has_no_interval():
    steps = np.arange(8.0)
    assert not rank_correlation(steps, steps**3).known
    assert not rank_correlation(steps, -steps).known
    assert rank_correlation(steps, [1.0, 0.0, *steps[2:]]).known  # the twin
