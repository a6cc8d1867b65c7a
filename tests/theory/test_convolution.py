"""The geometry of a convolution against PyTorch's own layers."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sparsefield.errors import InvalidInput
from sparsefield.theory.convolution import Convolution

from .fields import CIRCULAR, NAMED, SIZE, ZEROS, rng, some_variances


def torch_average(field, conv):
    layer = nn.Conv2d(
        1, 1, conv.kernel, conv.stride, conv.radius, padding_mode=conv.padding, bias=False
    ).double()
    nn.init.constant_(layer.weight, 1.0 / conv.kernel**2)
    return layer(torch.from_numpy(field)[None, None])[0, 0].detach().numpy()


@NAMED
@pytest.mark.parametrize("size", [SIZE, (7, 4), (2, 2)])
def test_average_is_that_of_conv2d(conv, size):
    field = rng().standard_normal(size)
    got = conv.average(field.ravel(), size).reshape(conv.output_size(size))
    np.testing.assert_allclose(got, torch_average(field, conv), atol=1e-14)


def test_conv2d_tells_the_paddings_apart():
    field = some_variances()
    got = ZEROS.average(field.ravel(), SIZE).reshape(SIZE)
    assert not np.allclose(got, torch_average(field, CIRCULAR), rtol=1e-2)


@NAMED
def test_spread_is_the_adjoint_of_average(conv):
    field, above = (rng().standard_normal(math.prod(s)) for s in (SIZE, conv.output_size(SIZE)))
    forth, back = conv.average(field, SIZE) @ above, field @ conv.spread(above, SIZE)
    assert forth == pytest.approx(back, abs=1e-12)


def test_circular_padding_is_refused_where_pytorch_refuses_it():
    layer = nn.Conv2d(1, 1, 5, padding=2, padding_mode="circular")
    with pytest.raises(RuntimeError, match="wrapping around more than once"):
        layer(torch.ones(1, 1, 1, 5))
    assert layer(torch.ones(1, 1, 2, 5)).shape[2:] == Convolution(5).output_size((2, 5))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Convolution(kernel=4), "kernel 4: an even one"),
        (lambda: Convolution(kernel=0), "kernel 0: must be a whole number"),
        (lambda: Convolution(stride=0), "stride 0: must be a whole number"),
        (lambda: Convolution(stride=1.5), "stride 1.5: must be a whole number"),
        (lambda: Convolution(stride=math.nan), "stride nan: must be a whole number"),
        (lambda: Convolution(padding="reflect"), "padding 'reflect': choose"),
        (lambda: Convolution(weights="sparse"), "weights 'sparse': choose"),
        (lambda: Convolution(5).reads((1, 5)), "height 1: circular padding of 2"),
        (lambda: Convolution().reads((5, 0)), "width 0: must be"),
        (lambda: Convolution().reads((5,)), "must be .height, width"),
        (lambda: Convolution(stride=2).transfer(SIZE), "stride 2: Fourier"),
        (lambda: ZEROS.transfer(SIZE), "padding zeros.*use fixed_profile"),
    ],
)
def test_bad_input_is_refused(make, says):
    with pytest.raises(InvalidInput, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)
