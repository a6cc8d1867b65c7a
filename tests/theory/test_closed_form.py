"""The closed forms against arbitrary precision, the exact quadrature, and solve()."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sparsefield.errors import InvalidInput
from sparsefield.theory import CriticalPoint, VarianceMap, gaussian, solve
from sparsefield.theory.closed_form import EdgeGrid, edge_grid
from sparsefield.theory.families import FAMILIES, family_named

from . import reference

sparsities = st.one_of(st.floats(1e-6, 0.999), st.floats(-12, -1).map(lambda e: 1.0 - 10.0**e))
clips = st.floats(-9, 9).map(lambda e: 10.0**e)
families = st.sampled_from(sorted(FAMILIES))


def exact(family, sparsity, clip):
    """Every quantity at q* = 1 with 160 digits, by the papers' formulas."""
    height = mp.inf if clip is None else mp.mpf(clip)
    sides = 2 if FAMILIES[family].two_sided else 1
    phi = reference.OneSided(reference.threshold(family, sparsity), height, sides)
    a, b = phi.ends(1)
    at_a, at_b = reference.density(a), 0 if mp.isinf(b) else reference.density(b)
    sigma_w2 = 1 / phi.active(1)
    return {
        "tau": a,
        "sigma_w2": sigma_w2,
        "sigma_b2": 1 - sigma_w2 * phi.second_moment(1),
        "slope": sigma_w2 * phi.slope(1),
        "curvature": sigma_w2 * phi.curvature(1),
        "chi1_slope": sigma_w2 * sides * (a * at_a - (b * at_b if at_b else 0)) / 2,
        "saturation": sides * reference.tail(b),
        "roughness": 2 / (3 * mp.sqrt(mp.pi)) * sigma_w2 * sides * (at_a + at_b),
    }


@given(family=families, s=sparsities, clip=clips)
@example(family="crelu", s=0.3, clip=0.25)  # where the two forms meet
@example(family="crelu", s=0.3, clip=0.2499999)
@example(family="crelu", s=1e-6, clip=4.0)  # the clip below zero
@example(family="cst", s=1 - 1e-12, clip=1e-9)
def test_every_quantity_to_1e_12_of_arbitrary_precision(ledger, family, s, clip):
    clip = clip if FAMILIES[family].clipped else None
    got = edge_grid(family, s, clip)
    with mp.workdps(reference.DIGITS):
        for name, want in exact(family, s, clip).items():
            # these cross zero: sigma_b2 and chi_1' anywhere, V' and V'' where tau < 0
            crosses = name in ("sigma_b2", "chi1_slope") or (s < 0.5 and name != "saturation")
            scale = max(
                abs(want), abs(got.slope) if name == "curvature" else 0, 1 if crosses else 0
            )
            if scale > 1e-290:
                assert abs(float(getattr(got, name)) - want) <= 1e-12 * scale, name
                error = reference.relative(getattr(got, name), want, scale)
                ledger.record("closed_form", error)


def test_a_wrong_formula_would_be_seen():
    with mp.workdps(reference.DIGITS):
        want = exact("crelu", 0.9, 1.0)["slope"]
    without_the_kink = 1.0  # E[phi'^2] alone: what automatic differentiation gives
    assert abs(without_the_kink - float(want)) > 0.3


@pytest.mark.parametrize("family", FAMILIES)
def test_grid_agrees_with_the_quadrature_on_a_batch(family):
    kind = family_named(family)
    s = np.linspace(0.05, 0.995, 23)
    clip = np.geomspace(1e-6, 30.0, 19)[:, None] if kind.clipped else None
    got = edge_grid(family, s, clip)
    phi = kind.activation(kind.threshold(s), clip)
    np.testing.assert_allclose(got.sigma_w2, 1.0 / gaussian.gain(phi, 1.0), rtol=1e-11)
    vmap = VarianceMap(phi, got.sigma_w2, 0.0)
    np.testing.assert_allclose(got.slope, vmap.slope(1.0), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(got.curvature, vmap.curvature(1.0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(1.0 - got.sigma_b2, vmap(1.0), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        got.saturation, gaussian.saturation(phi, 1.0), rtol=1e-9, atol=1e-290
    )


@given(s=st.floats(0.55, 0.999), clip=st.floats(0.02, 5.0), q=st.floats(1e-3, 1e3))
def test_units_and_chi1_as_in_solve(s, clip, q):
    want: CriticalPoint = solve("cst", sparsity=s, clip=clip, q=q, chi1=0.95)
    got = edge_grid("cst", s, clip, q=q, chi1=0.95)
    for name in ("tau", "sigma_w2", "sigma_b2", "slope"):
        assert float(getattr(got, name)) == pytest.approx(getattr(want, name), rel=1e-11)
    assert float(got.curvature) * q == pytest.approx(want.curvature * q, rel=1e-11, abs=1e-12)


def test_the_two_constants_agree_with_the_maps():
    got = edge_grid("crelu", 0.9, 1.0, q=2.0)
    vmap = solve("crelu", sparsity=0.9, clip=1.0, q=2.0).variance_map()
    assert float(got.roughness) == pytest.approx(vmap.correlation(2.0).kappa, rel=1e-12)
    by_difference = (vmap.chi1(2.0 + 1e-4) - vmap.chi1(2.0 - 1e-4)) / 2e-4
    assert float(got.chi1_slope) == pytest.approx(float(by_difference), rel=1e-6)


def test_shapes_broadcast_and_blocks_leave_no_seam():
    s, clip = np.linspace(0.3, 0.99, 700)[None, :], np.linspace(0.01, 3.0, 90)[:, None]
    grid = edge_grid("crelu", s, clip, q=np.array(2.0))
    for name in EdgeGrid.__dataclass_fields__:
        values = getattr(grid, name)
        assert values.shape == (90, 700)
        one = edge_grid("crelu", s[0, 411], clip[57, 0], q=2.0)
        assert values[57, 411] == getattr(one, name)
    assert edge_grid("relu", 0.9).slope.shape == ()
    assert edge_grid("crelu", np.full(5, 0.9), 1.0).slope.shape == (5,)


def test_relu_at_half_sparsity_needs_no_bias():
    got = edge_grid("relu", 0.5)
    assert (float(got.sigma_b2), float(got.tau), float(got.slope)) == (0.0, 0.0, 1.0)
    assert float(got.sigma_w2) == pytest.approx(2.0, rel=1e-14)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("crelu", 1.0, 1.0), "sparsity 1.0"),
        (("crelu", [0.5, np.nan], 1.0), "sparsity nan"),
        (("crelu", 0.0, 1.0), "sparsity 0.0"),
        (("crelu", 0.9, 0.0), "clip 0.0"),
        (("crelu", 0.9, np.inf), "clip inf"),
        (("crelu", 0.9), "no clip given for crelu"),
        (("relu", 0.9, 1.0), "use crelu"),
        (("gelu", 0.9), "'gelu' is unknown"),
    ],
)
def test_bad_input_is_named(arguments, says):
    with pytest.raises(InvalidInput, match=says):
        edge_grid(*arguments)


@pytest.mark.parametrize(("name", "value"), [("q", 0.0), ("q", -1.0), ("chi1", np.inf)])
def test_bad_units_are_named(name, value):
    with pytest.raises(InvalidInput, match=name):
        edge_grid("crelu", 0.9, 1.0, **{name: value})
