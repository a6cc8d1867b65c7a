"""Models that nobody here wrote: from configs of transformers, with random weights."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sparsefield.nn import CReLU, sparsify_
from sparsefield.theory import solve

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install 'sparsefield[foreign]'"
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
POINT = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
}


def bert():
    config = transformers.BertConfig(**SMALL, vocab_size=100, num_labels=3)
    words = {"input_ids": torch.randint(0, 100, (16, 12))}
    words["attention_mask"] = torch.ones(16, 12, dtype=torch.long)
    return transformers.BertForSequenceClassification(config), words


def vit():
    config = transformers.ViTConfig(**SMALL, image_size=16, patch_size=4, num_labels=3)
    return transformers.ViTForImageClassification(config), torch.randn(16, 3, 16, 16)


def resnet():
    config = transformers.ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64], depths=[1, 2], layer_type="basic", num_labels=3
    )
    return transformers.ResNetForImageClassification(config), torch.randn(16, 3, 32, 32)


def run(model, sample):
    return model(**sample) if isinstance(sample, dict) else model(sample)


@pytest.fixture(scope="module", params=[bert, vit, resnet], ids=lambda make: make.__name__)
def sparse(request):
    torch.manual_seed(0)
    model, sample = request.param()
    keys = set(model.state_dict())
    table = sparsify_(model, POINT, sample, generator=torch.Generator().manual_seed(1))
    return model, sample, keys, table


def test_zeros_are_those_asked_for_or_the_reason_is_said(sparse):
    model, _, keys, table = sparse
    assert len(table.activations) >= 2
    for row in table.activations:
        assert abs(row.zeros - 0.9) < 0.02 or row.unvouched, str(row)
        assert row.zeros > 0.8
    assert not any(isinstance(part, nn.ReLU | nn.GELU) for part in model.modules())
    assert sum(isinstance(part, CReLU) for part in model.modules()) >= 2
    assert keys <= set(model.state_dict())
    assert type(model).__module__.startswith("transformers")


def test_it_trains_and_copies(sparse):
    model, sample, _, _ = sparse
    model.eval()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(run(other, sample).logits, run(model, sample).logits)
    student = copy.deepcopy(model).train()
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    labels, losses = torch.arange(16) % 3, []
    for _ in range(8):
        loss = nn.functional.cross_entropy(run(student, sample).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
