"""Engines copied and pickled: the same outputs, weights of their own, and no model to follow."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sparsefield.engine import accelerate
from sparsefield.engine.native import kernels

from .models import MODELS, batch_for, dnn, drawn

COPIES = [copy.deepcopy, lambda engine: pickle.loads(pickle.dumps(engine))]


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", MODELS)
def test_copies_are_the_same(name, how):
    model, x = MODELS[name](), batch_for(name, 20)
    engine = accelerate(model, x)
    twin = how(engine)
    assert repr(twin) == repr(engine)
    assert twin.layers == engine.layers
    out = engine(x)
    assert torch.allclose(twin(x), out, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    twin.check()
    assert torch.allclose(twin(x), out, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(kernels() is None, reason="built without a compiler")
@pytest.mark.parametrize("how", COPIES)
def test_of_rounded_weights(how):
    engine, x = accelerate(dnn(), batch_for("dnn", 20), storage="int8"), batch_for("dnn", 20)
    twin = how(engine)
    assert twin.storage == "int8"
    assert torch.equal(twin(x), engine(x))


@pytest.mark.filterwarnings("ignore:accelerate")
@pytest.mark.parametrize("how", COPIES)
def test_modules_of_yours_go_along(how):
    model, x = drawn(nn.Linear(37, 50), nn.Tanh(), nn.Linear(50, 7)), batch_for("dnn", 4)
    engine = accelerate(model, x)
    assert torch.allclose(how(engine)(x), engine(x))
