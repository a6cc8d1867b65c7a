"""The edge of chaos of any activation: found where it is, and a remedy where it is not."""

import math

import numpy as np
import pytest

from sparsefield.errors import InvalidInput
from sparsefield.theory import NegativeBiasVariance, Unstable, solve
from sparsefield.theory import piecewise as pw
from sparsefield.theory.edge import edge_of_chaos
from sparsefield.theory.fixed_points import portrait
from sparsefield.theory.smooth import PiecewiseSmooth

from .smooth_cases import SMOOTH


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_edge_of_chaos_of_a_saturating_activation(name):
    vmap = edge_of_chaos(PiecewiseSmooth(SMOOTH[name][0]), 0.8)
    assert float(vmap(0.8)) == pytest.approx(0.8, rel=1e-12)
    assert float(vmap.chi1(0.8)) == pytest.approx(1.0, rel=1e-12)
    found = portrait(vmap, 0.8)
    assert found.unique
    assert found.basin == (0.0, math.inf)


@pytest.mark.parametrize("name", ["gelu", "silu", "elu", "softplus"])
def test_the_remedy_in_the_error_works(name):
    phi = PiecewiseSmooth(SMOOTH[name][0])
    with pytest.raises((Unstable, NegativeBiasVariance), match="lower chi1 to") as caught:
        edge_of_chaos(phi, 0.8, 1.5)
    chi1 = float(str(caught.value).split("lower chi1 to ")[1].split()[0])
    vmap = edge_of_chaos(phi, 0.8, 0.9999 * chi1)
    assert float(vmap(0.8)) == pytest.approx(0.8, rel=1e-12)
    for point in portrait(vmap, 0.8).points:
        assert float(vmap(point.q)) == pytest.approx(point.q, rel=1e-9)


def test_edge_of_chaos_equals_solve_for_a_named_family():
    point = solve("crelu", sparsity=0.9, q=4.0, clip=1.0)
    phi = PiecewiseSmooth(point.phi, kinks=point.phi.knots)
    vmap = edge_of_chaos(phi, 4.0)
    assert vmap.sigma_w2 == pytest.approx(point.sigma_w2, rel=1e-12)
    assert vmap.sigma_b2 == pytest.approx(point.sigma_b2, rel=1e-12)
    assert edge_of_chaos(point.phi, 4.0).sigma_w2 == pytest.approx(point.sigma_w2, rel=1e-13)
    got = portrait(
        edge_of_chaos(
            PiecewiseSmooth(
                pw.crelu(1.2815515655446004, 2.0), (1.2815515655446004, 3.2815515655446004)
            ),
            1.0,
        ),
        1.0,
    )
    want = solve("crelu", sparsity=0.9, q=1.0, clip=2.0).fixed_points
    assert [p.q for p in got.points] == pytest.approx([p.q for p in want], rel=1e-9)


@pytest.mark.parametrize(
    ("phi", "q", "chi1", "error", "says"),
    [
        (pw.relu(), -1.0, 1.0, InvalidInput, "q -1.0: a variance must be positive"),
        (pw.relu(), 1.0, math.nan, InvalidInput, "chi1 nan"),
        (pw.crelu([1.0, 2.0], 1.0), 1.0, 1.0, InvalidInput, "batch"),
        (PiecewiseSmooth(np.ones_like), 1.0, 1.0, InvalidInput, r"E\[phi'\^2\] = 0.*flat"),
        (pw.shifted_relu(-0.5), 1.0, 1.0, NegativeBiasVariance, "sigma_b2 = -.*lower chi1 to 0."),
        (pw.crelu(1.28, 3.0), 1.0, 1.2, Unstable, "V'.* = .*repels.*lower chi1 to 1.0"),
    ],
)
def test_edge_of_chaos_errors(phi, q, chi1, error, says):
    with pytest.raises(error, match=says):
        edge_of_chaos(phi, q, chi1)
