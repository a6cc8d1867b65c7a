"""An engine as a file: the same bits when read, and no damage that goes unnoticed."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from sparsefield.engine import accelerate, load_engine, save_engine
from sparsefield.engine.native import kernels
from sparsefield.errors import InvalidInput
from sparsefield.nn import crelu

from .models import MODELS, batch_for, cnn, conv, dnn, drawn

KEY = "sparsefield.engine"


def refused(path, *words):
    with pytest.raises(InvalidInput) as caught:
        load_engine(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", MODELS)
def test_round_trip(name, tmp_path):
    x = batch_for(name, 20)
    engine = accelerate(MODELS[name](), x)
    save_engine(engine, tmp_path / "engine")
    loaded = load_engine(tmp_path / "engine")
    assert repr(loaded) == repr(engine)
    assert loaded.layers == engine.layers
    for before, after in zip(engine.runners, loaded.runners, strict=True):
        assert after.plans == before.plans
        assert after.density.tolist() == before.density.tolist()
    for batch in (1, 5, 20):
        given = batch_for(name, batch, seed=7)
        for before, after in zip(engine.runners, loaded.runners, strict=True):
            after.density = before.density.copy()  # of the same choices, the same bits
        assert torch.equal(loaded(given), engine(given))


@pytest.mark.skipif(kernels() is None, reason="built without a compiler")
@pytest.mark.parametrize("storage", ["bfloat16", "int8"])
@pytest.mark.parametrize("name", ["dnn with a skip", "cnn with a skip"])
def test_round_trip_of_rounded_weights(name, storage, tmp_path):
    x = batch_for(name, 20)
    engine = accelerate(MODELS[name](), x, storage=storage)
    save_engine(engine, tmp_path / "engine")
    loaded = load_engine(tmp_path / "engine")
    assert loaded.storage == storage
    assert torch.equal(loaded(x), engine(x))


MADE_BEFORE = Path(__file__).parents[1] / "made_before" / "engine.safetensors"


def test_a_file_made_before():
    """It calls the storage *weights*, as its engine did."""
    engine, held, x = load_engine(MADE_BEFORE), load_file(MADE_BEFORE), torch.randn(5, 6)
    assert engine.storage == "float32"
    assert [layer.name for layer in engine.layers[:3]] == ["layers.0", "layers.1", "head"]
    h = x
    for name in ("layers.0", "layers.1"):
        h = crelu(F.linear(h, held[f"{name}.weight"], held[f"{name}.bias"]), 1.6832424671, 2.2)
    expected = F.linear(h, held["head.weight"], held["head.bias"])
    torch.testing.assert_close(engine(x), expected)


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.MaxPool2d((2, 3), stride=1, dilation=(1, 2)),
        nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
        nn.AvgPool2d((2, 1), ceil_mode=True, divisor_override=5),
        nn.AdaptiveAvgPool2d((2, None)),
        nn.AdaptiveMaxPool2d(3),
        nn.Flatten(),
        nn.Flatten(2, -1),
        nn.ReLU(),
    ],
    ids=str,
)
def test_every_setting_of_what_lies_between(pool, tmp_path):
    """Also where it comes first, and last."""
    layers, x = drawn(conv(3, 5, 2), nn.ReLU()), batch_for("cnn, zeros", 3)
    last = isinstance(pool, nn.Flatten)
    model = nn.Sequential(layers, pool) if last else nn.Sequential(pool, layers, pool)
    engine = accelerate(model, x)
    save_engine(engine, tmp_path / "engine")
    loaded = load_engine(tmp_path / "engine")
    assert torch.equal(loaded(x), engine(x))
    assert (loaded(x) - model(x)).abs().max() < 1e-5


def test_a_loaded_engine_measures_and_outlives_its_model(tmp_path):
    x, model = batch_for("dnn", 20), dnn()
    save_engine(accelerate(model, x), tmp_path / "engine")
    loaded, expected = load_engine(tmp_path / "engine"), model(x).detach()
    nn.init.zeros_(model.head.weight)
    loaded.measure(x, [2, 30])
    assert {layer.batch for layer in loaded.layers} == {2, 30}
    assert (loaded(x) - expected).abs().max() < 1e-5
    loaded.check()


@pytest.mark.filterwarnings("ignore:accelerate")
def test_a_module_of_yours_cannot_be_saved(tmp_path):
    model = drawn(nn.Linear(37, 50), nn.Tanh(), nn.Linear(50, 7))
    engine = accelerate(model, batch_for("dnn", 4))
    with pytest.raises(InvalidInput, match="1: Tanh runs as a module of yours.*save the model"):
        save_engine(engine, tmp_path / "engine")
    assert list(tmp_path.iterdir()) == []


def test_no_directory(tmp_path):
    engine = accelerate(dnn(depth=1), batch_for("dnn", 4))
    with pytest.raises(InvalidInput, match="no directory .*missing; make it"):
        save_engine(engine, tmp_path / "missing" / "engine")


# Damage


@pytest.fixture
def saved(tmp_path):
    """A small engine's file."""
    engine = accelerate(dnn(width=9, depth=2), batch_for("dnn", 4))
    save_engine(engine, tmp_path / "engine")
    return tmp_path / "engine"


def rewritten(path: Path, change):
    """The file again, as ``change`` has made its description and tensors."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()[KEY])
    tensors = load_file(path)
    metadata = change(content, tensors)
    text = metadata if isinstance(metadata, str) else json.dumps(content)
    save_file(tensors, path, {KEY: text})


def test_no_file(tmp_path):
    refused(tmp_path / "missing", "damaged or no engine")
    refused(tmp_path, "damaged or no engine")


def test_something_else(tmp_path):
    path = tmp_path / "engine"
    for content in (b"", b"\0", b"not an engine\n" * 99, b"\xff" * 99, b"PK\x03\x04" * 99):
        path.write_bytes(content)
        refused(path, "damaged or no engine", "save it")
    save_file({"weight": torch.ones(3)}, path)
    refused(path, "no engine")
    save_file({"weight": torch.ones(3)}, path, {"format": "pt"})
    refused(path, "no engine")


def test_every_truncation(saved):
    content = saved.read_bytes()
    for size in [*range(0, len(content), 97), len(content) - 1]:
        saved.write_bytes(content[:size])
        refused(saved)
    saved.write_bytes(content + b"\0")
    refused(saved)


@settings(max_examples=300)
@given(data=st.data())
def test_a_flipped_bit_is_noticed(data, tmp_path_factory):
    """In the weights, in the description, in the file's own header."""
    path = tmp_path_factory.getbasetemp() / "flipped"
    if not path.exists():
        save_engine(accelerate(dnn(width=9, depth=2), batch_for("dnn", 4)), path)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        path.write_bytes(damaged)
        refused(path)
    finally:
        path.write_bytes(content)


def test_a_sound_file_passes_the_same_check(saved):
    rewritten(saved, lambda content, tensors: None)
    load_engine(saved)


@pytest.mark.parametrize("key", ["form", "weights", "parts", "plans", "density", "digest"])
def test_a_missing_key(saved, key):
    rewritten(saved, lambda content, tensors: bool(content.pop(key)))
    refused(saved, "damaged or no engine")


def made(key, value):
    return lambda content, tensors: content.update({key: value})


CHANGES = {
    "another form": made("form", 2),
    "a form that is no number": made("form", "x"),
    "another format": made("weights", "float16"),
    "no parts": made("parts", []),
    "parts of another kind": made("parts", {"a": 1}),
    "a number": made("plans", 3),
    "one density": made("density", [[0.5]]),
    "another weight": lambda content, tensors: tensors["head.weight"][0].add_(1.0),
    "no weight": lambda content, tensors: tensors.pop("head.weight"),
    "one weight more": lambda content, tensors: tensors.update(more=torch.ones(2)),
    "another shape": lambda content, tensors: tensors.update(
        {"head.weight": tensors["head.weight"].t().contiguous()}
    ),
    "no JSON": lambda content, tensors: "{",
    "a list": lambda content, tensors: "[1]",
    "nothing": lambda content, tensors: "null",
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_content(saved, change):
    rewritten(saved, CHANGES[change])
    refused(saved)


def test_a_file_made_to_mislead_is_refused(saved, monkeypatch):
    """Shapes are checked as well as the digest: kernels read what they are told to."""
    from sparsefield.engine import saved as module

    monkeypatch.setattr(module, "_digest", lambda content, tensors: "same")
    narrow = {"head.weight": torch.ones(7, 900)}
    short = {"head.bias": torch.ones(3)}
    other = {"head.weight": torch.ones(7, 9, dtype=torch.float16)}
    for tensors in (narrow, short, other):
        original = saved.read_bytes()

        def change(content, held, tensors=tensors):
            held.update(tensors)
            content["digest"] = "same"

        rewritten(saved, change)
        refused(saved)
        saved.write_bytes(original)


# Writing


def test_a_failure_leaves_the_older_file(saved, monkeypatch):
    before = saved.read_bytes()
    write = Path.write_bytes

    def half(path, content):
        write(path, content[: len(content) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(InvalidInput, match="cannot be written.*no space"):
        save_engine(accelerate(cnn(), batch_for("cnn, zeros", 2)), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.glob("*.partial")) == []
    load_engine(saved)


def test_it_replaces_an_older_file(saved):
    x = batch_for("cnn, zeros", 2)
    engine = accelerate(cnn(), x)
    save_engine(engine, str(saved))
    assert torch.equal(load_engine(str(saved))(x), engine(x))
    assert [path.name for path in saved.parent.iterdir()] == ["engine"]
