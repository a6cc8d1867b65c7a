from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from sparsefield.monitor import expected
from sparsefield.theory import VarianceMap, solve


def test_at_the_fixed_point_every_layer_keeps_q_and_sparsity():
    point = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
    theory = expected(point.variance_map(skip=0.5), point.q, 20)
    assert theory.q == pytest.approx([4.0] * 20)
    assert theory.sparsity == pytest.approx([0.9] * 20)


def test_away_from_it_the_map_is_iterated():
    point = solve("crelu", sparsity=0.8, q=1.0, clip=1.0)
    other = VarianceMap(point.phi, 1 / 3, 0.4)
    theory = expected(other, 3.0, 3)
    second = float(other(3.0))
    assert theory.q == pytest.approx([3.0, second, float(other(second))])
    assert theory.sparsity == pytest.approx(ndtr(point.tau / np.sqrt(theory.q)))


def test_one_layer_is_the_first_alone():
    point = solve("st", sparsity=0.7, q=2.0)
    assert expected(point.variance_map(), 0.5, 1).q == (0.5,)


def test_strided_layers_have_no_skip():
    vmap = solve("crelu", sparsity=0.9, q=1.0, clip=1.0).variance_map(skip=0.9)
    q = expected(vmap, 2.0, 4, without_skip=[2]).q
    assert q[1] == float(vmap(2.0))
    assert q[2] == float(replace(vmap, skip=0.0)(q[1]))
    assert q[3] == float(vmap(q[2]))
