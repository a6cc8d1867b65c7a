"""Names of shapes become networks of those sizes."""

import pytest

from sparsefield.bench import named_shape
from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN
from sparsefield.theory import solve

POINT = solve("crelu", sparsity=0.9, q=1.0, clip=1.0)


def test_a_dnn():
    shape = named_shape("dnn-3x20-in11-skip0.25")
    model = shape.build(POINT)
    assert isinstance(model, DNN)
    assert [tuple(layer.weight.shape) for layer in model.layers] == [(20, 11), (20, 20), (20, 20)]
    assert model.skip == 0.25
    assert not model.training
    assert model(shape.random_inputs(4, POINT)).shape == (4, 10)


def test_a_cnn():
    shape = named_shape("cnn-2x6x3")
    model = shape.build(POINT)
    assert isinstance(model, CNN)
    assert [layer.padding_mode for layer in model.layers] == ["zeros", "zeros"]
    assert model(shape.random_inputs(4, POINT)).shape == (4, 10)
    assert named_shape("cnn-2x6x8-circular").padding == "circular"


def test_the_same_name_makes_the_same_network_and_inputs():
    shape = named_shape("dnn-2x9-in4")
    x = shape.random_inputs(3, POINT)
    assert x.equal(shape.random_inputs(3, POINT))
    assert shape.build(POINT)(x).equal(shape.build(POINT)(x))
    assert not shape.build(POINT, seed=1)(x).equal(shape.build(POINT)(x))


def test_an_inner_network_reads_activations_as_sparse_as_its_own():
    for name, one in (("dnn-2x90-inner", (90,)), ("cnn-2x9x8-inner", (9, 8, 8))):
        shape = named_shape(name)
        x = shape.random_inputs(50, POINT)
        assert x.shape == (50, *one)
        assert (x == 0).float().mean() == pytest.approx(0.9, abs=0.02)
        assert shape.build(POINT)(x[:3]).shape == (3, 10)


BAD = [
    *("dnn", "dnn-3", "dnn-0x4", "dnn-3x", "cnn-3x4", "rnn-3x4", "dnn-3x4-in0", "dnn-3x4-skip1"),
    *("dnn-3x4-circular", "cnn-3x4x5-in9", "dnn-3x4x5", "dnn-3x4-wide", ""),
]


@pytest.mark.parametrize("name", BAD)
def test_another_form_is_refused(name):
    with pytest.raises(InvalidInput, match="shape"):
        named_shape(name)
