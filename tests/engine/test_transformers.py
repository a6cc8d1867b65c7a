"""Models that nobody here wrote: Hugging Face's, from small configurations with random weights."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from sparsefield.engine import accelerate
from sparsefield.engine.calling import arguments, call_with, form_of
from sparsefield.engine.native import kernels
from sparsefield.engine.training_any import AcceleratedTraining
from sparsefield.nn import CReLU

from .chains import randn

os.environ.setdefault("HF_HUB_OFFLINE", "1")
transformers = pytest.importorskip("transformers")

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(kernels() is None, reason="built without a compiler"),
]
SMALL = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2}
WORDS = torch.randint(50, (3, 6), generator=torch.Generator().manual_seed(0))


def bert() -> nn.Module:
    config = transformers.BertConfig(vocab_size=50, intermediate_size=64, **SMALL)
    return transformers.BertModel(config)


def vit() -> nn.Module:
    config = transformers.ViTConfig(image_size=16, patch_size=8, intermediate_size=64, **SMALL)
    return transformers.ViTForImageClassification(config)


def resnet() -> nn.Module:
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1]}
    config = transformers.ResNetConfig(layer_type="basic", **sizes)
    return transformers.ResNetForImageClassification(config)


MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], set[str]]] = {
    "bert": (
        *(bert, {"input_ids": WORDS, "attention_mask": torch.ones_like(WORDS)}),
        {"encoder.layer.0.output.dense"},
    ),
    "vit": (
        *(vit, {"pixel_values": randn(1, 3, 3, 16, 16)}),
        {"vit.layers.0.mlp.fc1 to vit.layers.0.mlp.fc2"},
    ),
    "resnet": (resnet, {"pixel_values": randn(1, 3, 3, 32, 32)}, {"classifier.1"}),
}


def sparse(make: Callable[[], nn.Module]) -> nn.Module:
    """The model with activations that have zeros."""
    torch.manual_seed(0)
    model = make()
    for module in [*model.modules()]:
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU) or "GELU" in type(child).__name__:
                setattr(module, name, CReLU(0.2, 2.0))
    return model.eval()


def tensors(output: Any) -> list[torch.Tensor]:
    return [value for value in output.values() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_the_models(name):
    make, sample, pieces = MODELS[name]
    model = sparse(make)
    fast = accelerate(model, sample, dispatch="sparse", batches=[3])
    assert pieces <= set(fast.pieces)
    with torch.no_grad():
        found, expected = fast(**sample), model(**sample)
    assert type(found) is type(expected)
    for a, b in zip(tensors(found), tensors(expected), strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_the_models(name):
    make, sample, _ = MODELS[name]
    model, found = sparse(make).train(), []
    engine = AcceleratedTraining(model, *form_of(*arguments(model, *call_with(sample))))
    engine._settle([*engine._pieces.values()])
    for called in (engine.eval(), model):
        model.zero_grad()
        sum(out.square().sum() for out in tensors(called(**sample))).backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    size = max(float(g.norm()) for g in found[1])
    for a, b in zip(*found, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm() + 1e-6 * size
