"""Without the compiled kernels the engine runs by embedding_bag, says so, and is as right."""

import pytest
import torch
from torch.nn import functional as F

from sparsefield.engine import (
    accelerate,
    accelerating,
    bodies,
    load_engine,
    native,
    runner,
    save_engine,
    saved,
)
from sparsefield.engine.gather import gather as gathered
from sparsefield.errors import InvalidInput

from .chains import randn, thinned
from .models import IMAGES, MODELS, batch_for, dnn

BUILT = pytest.mark.skipif(native.kernels() is None, reason="built without a compiler")


@pytest.fixture
def no_kernels(monkeypatch):
    for module in (native, runner, accelerating, bodies, saved):
        monkeypatch.setattr(module, "kernels", lambda: None)


@pytest.fixture
def bags(monkeypatch):
    """The calls of embedding_bag."""
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        return embedding_bag(*arguments, **options)

    embedding_bag = F.embedding_bag
    monkeypatch.setattr(F, "embedding_bag", counted)
    return calls


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("dispatch", ["measure", "sparse", "dense"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_the_models(name, dispatch, bags):
    model = MODELS[name]().eval()
    engine = accelerate(model, batch_for(name, 20), dispatch=dispatch)
    bags.clear()
    for batch in (0, 1, 5, 20):
        x = batch_for(name, batch, seed=batch + 5)
        with torch.no_grad():
            expected = model(x.clone())
        out = engine(x)
        assert out.shape == expected.shape
        scale = float(expected.abs().max()) if batch else 1.0
        assert torch.allclose(out, expected, rtol=0.0, atol=1e-5 * scale)
    if dispatch == "dense":
        assert not bags
    if dispatch == "sparse" and name not in IMAGES:
        assert bags


@pytest.mark.usefixtures("no_kernels")
def test_it_says_so():
    engine = accelerate(dnn(), batch_for("dnn", 20), dispatch="sparse")
    assert engine.backend == "embedding_bag (built without a compiler)"
    assert engine.backend in repr(engine)
    assert "6 sparse" in repr(engine)
    assert native.instruction_set() is None


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("dispatch", ["measure", "sparse", "dense"])
def test_convolutions_are_dense_whatever_is_asked(dispatch):
    engine = accelerate(MODELS["cnn with a skip"](), batch_for("cnn", 4), dispatch=dispatch)
    assert {layer.runs for layer in engine.layers if layer.name != "head"} == {"torch"}


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("storage", ["bfloat16", "int8"])
def test_rounded_weights_need_the_kernels(storage):
    with pytest.raises(InvalidInput, match=f"storage {storage}: needs the compiled kernels; build"):
        accelerate(dnn(), batch_for("dnn", 4), storage=storage)


@BUILT
def test_a_file_goes_from_one_build_to_the_other(tmp_path, request):
    model, x = dnn(), batch_for("dnn", 20)
    save_engine(accelerate(model, x), tmp_path / "exact")
    save_engine(accelerate(model, x, storage="int8"), tmp_path / "rounded")
    request.getfixturevalue("no_kernels")
    loaded = load_engine(tmp_path / "exact")
    assert "embedding_bag" in loaded.backend
    assert (loaded(x) - model(x)).abs().max() < 1e-5
    with pytest.raises(InvalidInput, match="rounded: holds int8 weights.*compiled kernels; build"):
        load_engine(tmp_path / "rounded")


@pytest.mark.usefixtures("no_kernels")
def test_special_values():
    model, x = dnn(), batch_for("dnn", 6)
    x[1, 3], x[2, 4], x[3, 5] = float("nan"), float("inf"), -float("inf")
    x[4] *= 1e-40
    out, expected = accelerate(model, batch_for("dnn", 6), dispatch="sparse")(x), model(x).detach()
    assert torch.equal(out.isnan(), expected.isnan())
    assert out[1].isnan().all()
    finite = expected.isfinite()
    assert torch.allclose(out[finite], expected[finite], atol=1e-5)


@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (3, 300), (70, 17)])
def test_gather(shape, density):
    y, weight, bias = thinned(randn(1, *shape), density, seed=2), randn(3, 9, shape[1]), randn(4, 9)
    table = weight.t().contiguous()
    for added in (None, bias):
        expected = F.linear(y.double(), weight.double(), None if added is None else bias.double())
        assert torch.allclose(gathered(y, table, added).double(), expected, rtol=1e-5, atol=1e-5)
        wrong = gathered(y, table + 0.01, added).double()
        assert not y.any() or not torch.allclose(wrong, expected, rtol=1e-5, atol=1e-5)
