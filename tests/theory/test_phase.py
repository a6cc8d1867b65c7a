"""Phase diagrams: classes and counts as solve() finds them, plain data, clear errors."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsefield.errors import InvalidInput, SparsefieldError
from sparsefield.theory import solve
from sparsefield.theory.fixed_point_count import count_fixed_points
from sparsefield.theory.phase import MEANINGS, Axis, Stability, phase_diagram

SPARSITY, CLIP = Axis("sparsity", 0.4, 0.98, 9), Axis("clip", 0.3, 3.0, 7)


@given(
    family=st.sampled_from(["crelu", "cst"]),
    s=st.floats(0.3, 0.999),
    clip=st.floats(-1.5, 0.6).map(lambda e: 10.0**e),
    chi1=st.sampled_from([0.9, 1.0, 1.05]),
)
def test_count_is_that_of_solve(family, s, clip, chi1):
    try:
        point = solve(family, sparsity=s, clip=clip, chi1=chi1)
    except SparsefieldError:
        return
    assume(abs(point.slope - 1.0) > 1e-7)
    beside = [solve(family, sparsity=s, clip=c, chi1=chi1) for c in (clip * 0.998,)]
    assume(all(len(p.fixed_points) == len(point.fixed_points) for p in beside))  # not at a fold
    assert count_fixed_points(family, s, clip, chi1=chi1) == len(point.fixed_points)


@pytest.mark.parametrize("family", ["relu", "st"])
@pytest.mark.parametrize(("s", "chi1"), [(0.7, 1.0), (0.7, 0.9), (0.9, 0.9), (0.5, 0.9)])
def test_count_without_a_clip(family, s, chi1):
    want = len(solve(family, sparsity=s, chi1=chi1).fixed_points)
    assert count_fixed_points(family, s, chi1=chi1) == want


def test_count_where_there_is_no_map_or_every_q_is_fixed():
    assert count_fixed_points("relu", [0.3, 0.5]).tolist() == [0, -1]
    assert count_fixed_points("crelu", 1 - 1e-11, 1.0) == len(
        solve("crelu", sparsity=1 - 1e-11, clip=1.0).fixed_points
    )


def test_classes_are_those_of_solve():
    found = phase_diagram("crelu", SPARSITY, CLIP, quantities=["stability"])
    grid = found.grids["stability"]
    assert set(np.unique(grid.values)) == {0.0, 3.0, 4.0}
    for at in np.ndindex(*grid.values.shape):
        try:
            point = solve("crelu", sparsity=grid.x[at[1]], clip=grid.y[at[0]])
            want = Stability.UNIQUE if point.unique else Stability.SEVERAL
        except SparsefieldError:
            want = Stability.NO_SOLUTION
        assert grid.values[at] == want


def test_repelling_and_marginal_points_have_their_class():
    steep = phase_diagram("crelu", SPARSITY, Axis("clip", 3.0, 4.0, 2), chi1=1.2)
    assert (steep.grids["stability"].values == Stability.REPELS).any()
    level = phase_diagram("st", SPARSITY, Axis("q", 0.5, 2.0, 2))
    assert (level.grids["stability"].values == Stability.MARGINAL).all()


def test_every_quantity_is_that_of_the_solved_point():
    names = [name for name in MEANINGS if name != "escape"]
    found = phase_diagram("crelu", SPARSITY, Axis("q", 0.5, 4.0, 3), m=1.0, quantities=names)
    assert list(found.grids) == names
    point = solve("crelu", sparsity=found.x.values[6], m=1.0, q=4.0)
    for name in ("slope", "curvature", "sigma_w2", "sigma_b2", "tau"):
        value = found.grids[name].values[2, 6]
        assert value == pytest.approx(getattr(point, name), rel=1e-11), name
    scale = found.grids["depth_scale"].values[2, 6]
    assert math.exp(-1.0 / scale) == pytest.approx(point.slope, rel=1e-11)
    kappa = found.grids["roughness"].values[2, 6]
    assert found.grids["correlation_depth"].values[2, 6] == pytest.approx(20.0 / kappa)
    missing = np.isnan(found.grids["slope"].values)
    assert missing.any()
    assert ((found.grids["stability"].values == 0.0) == missing).all()


def test_q_alone_is_a_change_of_units():
    at_clip = phase_diagram("cst", SPARSITY, Axis("q", 0.1, 10.0, 5), clip=1.0)
    at_m = phase_diagram("cst", SPARSITY, Axis("q", 0.1, 10.0, 5), m=1.0)
    assert np.ptp(at_clip.grids["slope"].values, axis=0).max() < 1e-12
    assert np.ptp(at_m.grids["slope"].values, axis=0).min() > 0.1


def test_axes_may_be_swapped():
    one = phase_diagram("crelu", SPARSITY, CLIP, quantities=["slope"])
    two = phase_diagram("crelu", CLIP, SPARSITY, quantities=["slope"])
    np.testing.assert_array_equal(one.grids["slope"].values, two.grids["slope"].values.T)


def test_escape_on_its_own_grid_with_progress():
    calls = []
    found = phase_diagram(
        "crelu",
        Axis("sparsity", 0.4, 0.9, 5),
        Axis("clip", 1.0, 1.9, 5),
        quantities=["slope", "escape"],
        width=60,
        depth=10,
        escape_size=(2, 2),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.fixed == {"width": 60, "depth": 10}
    (safe_low, safe), (none, unsafe) = found.grids["escape"].values
    assert np.isnan(none)
    assert safe_low < 0.01
    assert 0.0 <= safe < unsafe < 1.0


def test_plain_data_and_words():
    found = phase_diagram(
        "relu", SPARSITY, Axis("q", 0.5, 2.0, 2), quantities=["stability", "slope"]
    )
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["grids"]["slope"]["values"][0][0] is None
    assert data["stability_classes"]["unique"] == 4
    assert "marginal" in str(found)
    assert "relu" in str(found)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"quantities": ["speed"]}, "quantity 'speed' is unknown"),
        ({"quantities": []}, "no quantity"),
        ({"quantities": ["escape"]}, "width and a depth"),
        ({"sparsity": 0.9}, "sparsity is given twice"),
        ({"m": 1.0}, "clip and m given"),
        ({"y": Axis("q", 0.5, 2.0, 2)}, "neither clip nor m"),
        ({"x": Axis("q", 0.5, 2.0, 2)}, "no sparsity"),
        ({"family": "relu"}, "which has no clip"),
        ({"x": CLIP}, "clip is given twice"),
    ],
)
def test_bad_input_is_named(change, says):
    arguments = {"family": "crelu", "x": SPARSITY, "y": CLIP} | change
    with pytest.raises(InvalidInput, match=says):
        phase_diagram(**arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("speed", 1.0, 2.0, 3), "axis 'speed' is unknown"),
        (("clip", 2.0, 1.0, 3), "must ascend"),
        (("sparsity", 0.5, 1.0, 3), "inside"),
        (("q", math.nan, 1.0, 3), "must ascend"),
        (("q", 0.5, 1.0, 1), "at least 2"),
    ],
)
def test_bad_axis_is_named(arguments, says):
    with pytest.raises(InvalidInput, match=says):
        Axis(*arguments)
