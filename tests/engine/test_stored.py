"""An engine says where weights in fewer bits are not faster, by measurement."""

import warnings

import pytest

from sparsefield.engine import accelerate, stored
from sparsefield.engine.native import kernels
from sparsefield.engine.stored import BesideFloat32

from .models import MODELS, batch_for, dnn

pytestmark = pytest.mark.skipif(kernels() is None, reason="built without a compiler")
ADD = BesideFloat32.add  # the other tests' does nothing


@pytest.fixture
def timed(monkeypatch):
    """Let calls take what is said of them: with the storage, and with float32."""

    def takes(storage, float32):
        monkeypatch.setattr(BesideFloat32, "add", ADD)
        monkeypatch.setattr(stored, "run_times", lambda *_: [storage, float32])

    return takes


@pytest.mark.parametrize(("storage", "share"), [("bfloat16", "1/2"), ("int8", "1/4")])
def test_no_faster_is_said(timed, storage, share):
    timed(7.9e-3, 7.8e-3)
    said = f"storage {storage}: no faster than float32 at batch 16 .7.9 against 7.8 ms.*{share}"
    with pytest.warns(UserWarning, match=said):
        engine = accelerate(dnn(), batch_for("dnn", 16), storage=storage, batches=[16])
    assert f"storage {storage}: no faster than float32 at batch 16" in repr(engine)


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_faster_is_not(timed, storage):
    timed(4e-3, 7.8e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = accelerate(dnn(), batch_for("dnn", 16), storage=storage)
    assert "no faster" not in repr(engine)
    assert len(engine.storage_times) == (0 if storage == "float32" else 2)


def test_chains_are_added_up_by_batch(monkeypatch):
    monkeypatch.setattr(BesideFloat32, "add", ADD)
    model, x = MODELS["cnn, zeros"](), batch_for("cnn, zeros", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = accelerate(model, x, storage="int8")
    assert [time.batch for time in engine.storage_times] == [1, 3]
    assert all(time.seconds > 0.0 < time.float32_seconds for time in engine.storage_times)
