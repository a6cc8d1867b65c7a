"""The fully connected kernels against their definition in float64: sizes, densities, formats."""

import dataclasses
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sparsefield.engine.native import Packed, kernels
from sparsefield.engine.phi import Phi
from sparsefield.engine.products import Chain

from .chains import agrees, int8, linear, randn, run, thinned, truth

pytestmark = pytest.mark.skipif(kernels() is None, reason="built without a compiler")
SETS = kernels().instruction_sets() if kernels() else []
THREADS = st.sampled_from([1, 1, 1, 2, 3])  # threads wait for one another where cores are few
BATCHES = (0, 1, 2, 5, 70, 300)
SIZES = st.one_of(st.integers(1, 300), st.sampled_from([1, 15, 16, 17, 63, 64, 65, 80, 81, 300]))

PHIS = st.one_of(
    st.just(Phi()),
    st.builds(
        Phi,
        st.just("one_sided"),
        st.floats(-0.75, 2.0, width=32),
        st.sampled_from([0.5, 2.0, math.inf]),
    ),
    st.builds(
        Phi,
        st.just("two_sided"),
        st.floats(0.0, 2.0, width=32),
        st.sampled_from([0.5, 2.0, math.inf]),
    ),
    st.builds(Phi, st.just("cut"), st.floats(0.0, 2.0, width=32)),
)


@st.composite
def chains(draw):
    depth = draw(st.integers(1, 4))
    if draw(st.booleans()):  # equal widths, as a skip needs
        sizes = [draw(SIZES)] + [draw(SIZES)] * depth
    else:
        sizes = [draw(SIZES) for _ in range(depth + 1)]
    phis = [draw(PHIS) for _ in range(depth)]
    before = draw(st.one_of(st.just(Phi()), PHIS))
    skip = draw(st.sampled_from([0.0, 0.5, 0.9]))
    return linear(draw(st.integers(0, 999)), sizes, phis, skip, before)


@st.composite
def calls(draw, depth):
    """Keyword arguments of a call of a chain."""
    first = draw(st.integers(0, depth - 1))
    return {
        "layers": (first, draw(st.integers(first + 1, depth))),
        "raw": draw(st.booleans()),
        "threads": draw(THREADS),
        "together": draw(st.booleans()),
        "rows": [draw(st.booleans()) for _ in range(depth)],
    }


def input_of(chain: Chain, first: int, batch: int, density: float):
    width = chain.products[first].inputs
    return thinned(randn(5, batch, width), density, seed=6)


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=120)
@given(data=st.data())
def test_every_chain(name, data):
    chain = data.draw(chains())
    call = data.draw(calls(len(chain.products)))
    storage = data.draw(st.sampled_from(["float32", "float32", "bfloat16", "int8"]))
    batch, density = data.draw(st.sampled_from(BATCHES)), data.draw(st.floats(0.0, 1.0))
    x = input_of(chain, call["layers"][0], batch, density)
    expected = truth(chain, x, call["layers"], raw=call["raw"], rounded=storage)
    assume(not expected.jumps)
    out, active = run(Packed(chain, storage, data.draw(st.integers(1, 3)), name), chain, x, **call)
    assert agrees(out, expected)
    for counted, true in zip(active, expected.active, strict=True):
        # a value within rounding of the threshold may fall on either side
        assert abs(counted - true) <= 1e-4 * batch * 300 + 1


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("rows", [False, True])
def test_active_inputs_are_counted_exactly(name, density, rows):
    chain = linear(1, [77, 33], [Phi()])
    x = thinned(randn(2, 70, 77), density, seed=3)
    for threads, together in ((1, False), (3, False), (3, True)):
        _, active = run(
            Packed(chain, "float32", threads, name),
            *(chain, x),
            threads=threads,
            together=together,
            rows=[rows],
        )
        assert active == (int((x != 0).sum()),)


# Twins: the same comparison must see a wrong weight and a dropped input

TWIN = linear(4, [99, 99, 31], [Phi("one_sided", 0.5, 2.0), Phi()], skip=0.5)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("together", [False, True])
def test_a_wrong_weight_is_seen(name, together):
    x = thinned(randn(2, 5, 99), 0.1, seed=3)
    met = int((x[2] != 0).nonzero()[0])
    weight = TWIN.products[0].weight.clone()
    weight[int((truth(TWIN, x, (0, 1)).out[2] > 0.6).nonzero()[0]), met] += 0.01
    wrong = Chain((dataclasses.replace(TWIN.products[0], weight=weight), *TWIN.products[1:]))
    call = {"threads": 2, "together": together}
    assert agrees(run(Packed(TWIN, "float32", 2, name), TWIN, x, **call)[0], truth(TWIN, x))
    assert not agrees(run(Packed(wrong, "float32", 2, name), wrong, x, **call)[0], truth(TWIN, x))


@pytest.mark.parametrize("name", SETS)
def test_a_dropped_input_is_seen(name):
    x = thinned(randn(2, 5, 99), 0.1, seed=3)
    dropped = x.clone()
    dropped[4, int((x[4] != 0).nonzero()[-1])] = 0.0
    packed = Packed(TWIN, "float32", 1, name)
    assert not agrees(run(packed, TWIN, dropped)[0], truth(TWIN, x))


@pytest.mark.parametrize("storage", ["bfloat16", "int8"])
def test_rounded_weights_are_not_the_exact_ones(storage):
    x = randn(2, 5, 99)
    out, _ = run(Packed(TWIN, storage, 1), TWIN, x)
    assert agrees(out, truth(TWIN, x, rounded=storage))
    assert not agrees(out, truth(TWIN, x))
    assert agrees(out, truth(TWIN, x), rtol=2e-2)


@pytest.mark.parametrize("name", SETS)
def test_int8_of_weights_near_the_smallest_number(name):
    weight = torch.full((3, 2), 190 * 2.0**-149)
    weight[1], weight[2, 0] = 0.0, -190 * 2.0**-149
    product = dataclasses.replace(linear(3, [2, 3], [Phi()]).products[0], weight=weight, bias=None)
    chain, x = Chain((product,)), torch.tensor([[2.0**100, 0.0]])
    out, _ = run(Packed(chain, "int8", 1, name), chain, x)
    assert torch.equal(out.double(), x.double() @ int8(weight).T)


# Any memory


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("width", [1, 16, 33, 64])
def test_misaligned_memory(name, width):
    chain = linear(7, [width, width + 1, 5], [Phi("one_sided", 0.2), Phi()])
    x = torch.empty(9 * width + 1)[1:].view(9, width)
    x.copy_(randn(1, 9, width))
    assert x.data_ptr() % 8 == 4
    for rows in ([False, False], [True, True]):
        out, _ = run(Packed(chain, "float32", 1, name), chain, x, rows=rows)
        assert agrees(out, truth(chain, x))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("together", [False, True])
def test_huge_batch(name, together):
    chain = linear(8, [3, 17, 2], [Phi("two_sided", 0.5, 1.0), Phi()])
    x = thinned(randn(1, 100_003, 3), 0.5, seed=2)
    packed = Packed(chain, "float32", 2, name)
    out, active = run(packed, chain, x, threads=2, together=together)
    assert agrees(out, truth(chain, x))
    assert active[0] == int((x != 0).sum())


@pytest.mark.parametrize("name", SETS)
def test_long_rows_pass_through_every_tile(name):
    chain = linear(8, [2100, 700, 130], [Phi("one_sided", 0.5), Phi()])
    for batch in (1, 3, 4, 65):
        x = thinned(randn(1, batch, 2100), 0.3, seed=2)
        for together in (False, True):
            packed = Packed(chain, "float32", 2, name)
            out, _ = run(packed, chain, x, threads=2, together=together)
            assert agrees(out, truth(chain, x))
