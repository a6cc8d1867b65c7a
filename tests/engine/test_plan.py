"""What a plan chooses, which plan a batch follows, and how layers are grouped into calls."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefield.engine.plan import (
    ROWS,
    SPARSE,
    TORCH,
    Plan,
    nearest,
    plan_from_dict,
    stretches,
)

DENSITY = st.floats(0.0, 1.0)
WAYS = st.sampled_from([ROWS, TORCH])
LAYERS = st.lists(st.tuples(DENSITY, st.floats(0.0, 2.0), WAYS), min_size=1, max_size=9)


def plan(layers, batch=8, how="alone"):
    return Plan(batch, how, tuple(c for _, c, _ in layers), tuple(d for _, _, d in layers))


@given(LAYERS)
def test_a_layer_is_dense_from_its_crossover_on(layers):
    chosen = plan(layers).choose(np.array([density for density, _, _ in layers]))
    assert chosen.dtype == np.uint8
    for choice, (density, crossover, dense) in zip(chosen, layers, strict=True):
        assert choice == (dense if density >= crossover else SPARSE)


def test_crossovers_of_never_and_always():
    ways = Plan(1, "alone", (0.0, 2.0, 0.5), (TORCH, TORCH, ROWS))
    assert ways.choose(np.zeros(3)).tolist() == [TORCH, SPARSE, SPARSE]
    assert ways.choose(np.ones(3)).tolist() == [TORCH, SPARSE, ROWS]
    # where there is no dense way, sparse it is
    assert Plan(1, "alone", (0.0,), (SPARSE,)).choose(np.ones(1)).tolist() == [SPARSE]


@given(LAYERS, st.integers(1, 10**6), st.sampled_from(["together", "apart", "alone"]))
def test_a_plan_survives_json(layers, batch, how):
    before = plan(layers, batch, how)
    assert plan_from_dict(json.loads(json.dumps(before.to_dict()))) == before


@pytest.mark.parametrize("key", ["batch", "how", "crossover", "dense"])
def test_a_damaged_plan(key):
    content = Plan(1, "alone", (0.5,), (ROWS,)).to_dict()
    for value in (None, "x", {"a": 1}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            plan_from_dict(content | {key: value})
    with pytest.raises(KeyError):
        plan_from_dict({name: content[name] for name in content if name != key})


@given(st.lists(st.integers(1, 4096), min_size=1, max_size=6, unique=True), st.integers(0, 10**6))
def test_the_nearest_plan_is_nearest(batches, batch):
    plans = tuple(Plan(size, "alone", (), ()) for size in batches)
    found = nearest(plans, batch)
    ratios = [max(size / max(1, batch), max(1, batch) / size) for size in batches]
    assert math.isclose(
        max(found.batch / max(1, batch), max(1, batch) / found.batch), min(ratios), rel_tol=1e-9
    )
    if batch in batches:
        assert found.batch == batch


@given(st.lists(st.sampled_from([SPARSE, ROWS, TORCH]), min_size=1, max_size=12))
def test_stretches_cover_all_layers_and_alternate(choices):
    found = stretches(np.array(choices, np.uint8))
    assert [index for _, first, last in found for index in range(first, last)] == list(
        range(len(choices))
    )
    for by_torch, first, last in found:
        assert all((choice == TORCH) == by_torch for choice in choices[first:last])
    kinds = [by_torch for by_torch, _, _ in found]
    assert all(a != b for a, b in pairwise(kinds))
