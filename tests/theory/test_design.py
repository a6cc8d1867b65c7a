"""The safe clip and the chi_1 of level gradients do what they say, and say when they cannot."""

import numpy as np
import pytest

from sparsefield.errors import InvalidInput
from sparsefield.theory import safe_clip, solve, typical_chi1
from sparsefield.theory.chain import simulate
from sparsefield.theory.finite_width import binomial_interval, escaped
from sparsefield.theory.gradients import gradient_rates, simulate_gradients
from sparsefield.theory.operator import escape_probability


def escape(family, s, clip, width, depth):
    vmap = solve(family, sparsity=s, clip=clip).variance_map()
    return escape_probability(vmap, 1.0, width=width, depth=depth)


@pytest.mark.parametrize(
    ("family", "s", "width", "depth"),
    [
        ("crelu", 0.9, 300, 100),
        ("crelu", 0.9, 60, 20),
        ("cst", 0.85, 150, 40),
        ("crelu", 0.6, 100, 9),
    ],
)
def test_the_safe_clip_is_just_safe(family, s, width, depth):
    clip = safe_clip(family, sparsity=s, width=width, depth=depth)
    assert escape(family, s, clip, width, depth) < 0.01
    assert escape(family, s, 1.002 * clip, width, depth) > 0.01  # the largest, to 1e-3


def test_draws_escape_as_often_as_the_rule_allows():
    clip = safe_clip("crelu", sparsity=0.9, width=60, depth=20, escape=0.1)
    vmap = solve("crelu", sparsity=0.9, clip=clip).variance_map()
    path = simulate(vmap, 1.0, width=60, depth=20, draws=6000, seed=5)
    hits = int(escaped(path, 1.0).sum())
    low, high = binomial_interval(hits, 6000, 1.0 - 1e-5)  # false alarm 1e-5
    assert low < 0.1 < high
    assert not low < 0.13 < high  # the twin: a rule that allowed a third more


def test_wider_and_shallower_networks_take_larger_clips():
    clips = [safe_clip("crelu", sparsity=0.9, width=n, depth=30) for n in (1, 30, 100, 400)]
    assert clips == sorted(clips)
    assert clips[0] < clips[-1]
    deeper = safe_clip("crelu", sparsity=0.9, width=100, depth=300)
    assert deeper < clips[2] < safe_clip("crelu", sparsity=0.9, width=100, depth=3)
    assert safe_clip("crelu", sparsity=0.9, width=100, depth=1) == 8.0  # Q starts at q*


def test_solve_takes_the_safe_clip_in_any_unit():
    auto = solve("crelu", sparsity=0.9, q=4.0, clip="auto", width=80, depth=25)
    assert auto.clip == safe_clip("crelu", sparsity=0.9, width=80, depth=25)
    assert auto.m == pytest.approx(2.0 * auto.clip)


def test_typical_chi1_levels_the_typical_gradient():
    chi1 = typical_chi1("crelu", sparsity=0.9, clip=1.0, width=300)
    vmap = solve("crelu", sparsity=0.9, clip=1.0, chi1="typical", width=300).variance_map()
    assert float(vmap.chi1(1.0)) == pytest.approx(chi1, rel=1e-12)
    assert gradient_rates(vmap, 1.0, 300).typical == pytest.approx(0.0, abs=1e-12)
    growth = simulate_gradients(vmap, 1.0, width=300, depth=21, draws=600, seed=2)[:, 0]
    edge = solve("crelu", sparsity=0.9, clip=1.0).variance_map()
    at_edge = simulate_gradients(edge, 1.0, width=300, depth=21, draws=600, seed=2)[:, 0]
    error = growth.std() / np.sqrt(600)
    remainder = 20 * 0.01  # O(1 / width^2) a layer: 0.002 at this width was predicted, five times
    assert abs(growth.mean()) < remainder + 4.5 * error
    assert at_edge.mean() < -0.5  # the twin: the edge of chaos loses e^-1 in 20 layers


def test_auto_and_typical_go_together():
    got = solve("crelu", sparsity=0.9, clip="auto", chi1="typical", width=300, depth=100)
    alone = solve("crelu", sparsity=0.9, clip="auto", width=300, depth=100)
    assert got.chi1 > 1.0
    assert got.clip < alone.clip  # a steeper map needs a lower clip
    assert got.chi1 == typical_chi1("crelu", sparsity=0.9, clip=got.clip, width=300)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"clip": "auto"}, "clip auto without width"),
        ({"clip": "auto", "width": 30}, "clip auto without depth"),
        ({"clip": "auto", "width": 30, "depth": 3, "m": 1.0}, "clip auto and m 1 given"),
        ({"clip": "auto", "width": 0, "depth": 3}, "width 0: must be a whole number"),
        ({"clip": "auto", "width": 3, "depth": 3, "escape": 0.0}, "escape 0.0: a probability"),
        ({"clip": "auto", "width": 3, "depth": 3, "sparsity": 1.0}, "sparsity 1.0"),
        ({"clip": "largest"}, "clip 'largest': must be one real number"),
        ({"clip": 1.0, "chi1": "typical"}, "chi1 typical without width"),
        ({"slope": 0.5, "chi1": "typical", "width": 300}, "chi1 typical and slope 0.5"),
        ({"clip": 1.0, "chi1": "typical", "width": 10}, "width 10 .* too narrow"),
        ({"clip": 1.0, "chi1": "level"}, "chi1 'level': must be one real number"),
    ],
)
def test_errors_name_value_rule_and_remedy(arguments, says):
    with pytest.raises(InvalidInput, match=says):
        solve("crelu", **({"sparsity": 0.9} | arguments))


def test_the_unclipped_families_have_no_clip_to_choose():
    with pytest.raises(InvalidInput, match="relu has no clip to choose; use crelu"):
        solve("relu", sparsity=0.9, clip="auto", width=30, depth=3)


def test_a_network_too_narrow_for_any_clip_is_told_so():
    with pytest.raises(InvalidInput, match="even at clip 0.05"):
        safe_clip("crelu", sparsity=0.99, width=1, depth=1000)
    bounded = safe_clip("crelu", sparsity=0.55, width=1, depth=1000)
    assert bounded > 0.05  # the twin: here sigma_b2 + sigma_w2 m^2 < 2 q* keeps Q inside


def test_an_escape_below_what_plain_doubles_see_is_honoured():
    clip = safe_clip("crelu", sparsity=0.9, width=60, depth=20, escape=1e-13)
    assert 0.0 < escape("crelu", 0.9, clip, 60, 20) < 1e-13
    assert escape("crelu", 0.9, 1.01 * clip, 60, 20) > 1e-13
