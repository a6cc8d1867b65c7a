"""The convolution kernels against F.conv2d in float64: kernels, strides, paddings, odd sizes."""

import dataclasses
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sparsefield.engine.native import Packed, kernels
from sparsefield.engine.phi import Phi
from sparsefield.engine.products import Chain, Window
from sparsefield.errors import InvalidInput

from .chains import agrees, convolutions, randn, run, thinned, truth

pytestmark = pytest.mark.skipif(kernels() is None, reason="built without a compiler")
SETS = kernels().instruction_sets() if kernels() else []
THREADS = st.sampled_from([1, 1, 1, 2, 3])  # threads wait for one another where cores are few
KERNELS = [(1, 1), (3, 3), (5, 3), (2, 2)]
SAME = Window((3, 3), (1, 1), (1, 1), True)
CLIPPED = Phi("one_sided", 0.5, 2.0)

PHIS = st.sampled_from(
    [
        *(Phi(), CLIPPED, Phi("one_sided", -0.25, 0.5), Phi("one_sided")),
        *(Phi("two_sided", 0.75), Phi("two_sided", 0.0, 1.0)),
    ]
)


@st.composite
def windows(draw):
    kernel = draw(st.sampled_from(KERNELS))
    stride = (draw(st.sampled_from([1, 1, 2, 3])), draw(st.sampled_from([1, 1, 2, 3])))
    padding = (draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2)))
    if draw(st.booleans()):
        return Window(kernel, stride, padding, draw(st.booleans()))
    return SAME._replace(circular=draw(st.booleans()))


@st.composite
def chains(draw):
    depth = draw(st.integers(1, 3))
    width = draw(st.integers(1, 100))
    channels = [draw(st.integers(1, 70))] + [
        draw(st.sampled_from([width, width, 5])) for _ in range(depth)
    ]
    shapes = [draw(windows()) for _ in range(depth)]
    phis = [draw(PHIS) for _ in range(depth)]
    skip = draw(st.sampled_from([0.0, 0.5]))
    before = draw(st.one_of(st.just(Phi()), PHIS))
    return convolutions(draw(st.integers(0, 999)), channels, shapes, phis, skip, before)


def fits(chain, size, layers):
    for product in chain.products[slice(*layers)]:
        try:
            after = product.window.after(size)
        except InvalidInput:
            return False
        if product.skip and not product.keeps_size and after == size:
            return False
        size = after
    return True


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=120)
@given(data=st.data())
def test_every_chain(name, data):
    chain = data.draw(chains())
    depth = len(chain.products)
    first = data.draw(st.integers(0, depth - 1))
    layers = (first, data.draw(st.integers(first + 1, depth)))
    size = (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 11)))
    assume(fits(chain, size, layers))
    batch, density = data.draw(st.integers(0, 5)), data.draw(st.floats(0.0, 1.0))
    storage = data.draw(st.sampled_from(["float32", "float32", "bfloat16", "int8"]))
    raw = data.draw(st.booleans())
    x = thinned(randn(1, batch, chain.products[first].inputs, *size), density, seed=2)
    expected = truth(chain, x, layers, raw=raw, rounded=storage)
    out, active = run(
        Packed(chain, storage, data.draw(st.integers(1, 3)), name),
        *(chain, x, layers),
        raw=raw,
        threads=data.draw(THREADS),
        together=data.draw(st.booleans()),
    )
    assert agrees(out, expected)
    for counted, true in zip(active, expected.active, strict=True):
        assert abs(counted - true) <= 2  # within rounding of the threshold


@pytest.mark.parametrize("name", SETS)
def test_images_of_one_pixel_shared_by_threads(name):
    """1 x 1 kernels over one pixel are fully connected layers in all but their lists."""
    one = Window((1, 1), (1, 1), (0, 0), False)
    chain = convolutions(3, [70, 300, 200, 90], [one] * 3, [CLIPPED, CLIPPED, Phi()])
    packed = Packed(chain, "float32", 3, name)
    x = thinned(randn(1, 5, 70, 1, 1), 0.4, seed=2)
    for _ in range(50):
        out, active = run(packed, chain, x, threads=3, together=True)
        assert agrees(out, truth(chain, x))
        assert active[0] == int((x != 0).sum())


# Twins


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("together", [False, True])
def test_a_wrong_tap_is_seen(name, together):
    chain = convolutions(5, [7, 19, 19], [SAME, SAME], [CLIPPED, Phi()], skip=0.5)
    x = thinned(randn(1, 3, 7, 5, 8), 0.2, seed=2)
    weight = chain.products[1].weight.clone()
    weight[11, 4, 0, 2] += 0.01
    wrong = Chain((chain.products[0], dataclasses.replace(chain.products[1], weight=weight)))
    call = {"threads": 2, "together": together}
    assert agrees(run(Packed(chain, "float32", 2, name), chain, x, **call)[0], truth(chain, x))
    assert not agrees(run(Packed(wrong, "float32", 2, name), wrong, x, **call)[0], truth(chain, x))


@pytest.mark.parametrize("change", [{"circular": False}, {"stride": (1, 2)}])
def test_another_window_is_seen(change):
    chain = convolutions(5, [7, 19], [SAME], [Phi()])
    x = thinned(randn(1, 3, 7, 6, 9), 0.2, seed=2)
    other = SAME._replace(**change)
    wrong = Chain((dataclasses.replace(chain.products[0], window=other),))
    out, _ = run(Packed(wrong, "float32", 1), wrong, x)
    expected = truth(chain, x)
    if "stride" in change:  # the same pixels, but not all
        expected = dataclasses.replace(expected, out=expected.out[..., : math.ceil(9 / 2)])
    assert not agrees(out, expected)


@pytest.mark.parametrize("name", SETS)
def test_a_dropped_pixel_is_seen(name):
    chain = convolutions(5, [7, 19, 19], [SAME, SAME], [CLIPPED, Phi()])
    x = thinned(randn(1, 3, 7, 5, 8), 0.2, seed=2)
    dropped = x.clone()
    dropped[tuple((x != 0).nonzero()[-1])] = 0.0
    assert not agrees(run(Packed(chain, "float32", 1, name), chain, dropped)[0], truth(chain, x))
