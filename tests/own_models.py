"""Models as people write them, with the activations that they have: for sparsify_."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.append(str(Path(__file__).parents[1] / "examples" / "five_models"))

from autoencoder import Autoencoder
from mixer import Mixer
from resnet import ResNet
from transformer import Transformer
from unet import UNet


class Written(nn.Module):
    """Calls functions, dropout among them, and has an argument with a default."""

    def __init__(self):
        super().__init__()
        self.up, self.mid, self.out = nn.Linear(20, 400), nn.Linear(400, 300), nn.Linear(300, 3)

    def forward(self, x, scale=1.0):
        h = F.dropout(torch.relu(self.up(x * scale)), 0.5, self.training)
        return self.out(self.mid(h).relu_())


FIVE = {
    "resnet": (ResNet, lambda: torch.randn(16, 3, 16, 16)),
    "mixer": (Mixer, lambda: torch.randn(8, 3, 32, 32)),
    "transformer": (Transformer, lambda: torch.randint(0, 50, (16, 12))),
    "unet": (UNet, lambda: torch.randn(8, 1, 32, 32)),
    "autoencoder": (Autoencoder, lambda: torch.randn(128, 64)),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def data(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed))


def state_of(model):
    """Tensors, classes and modes: what a dry run or a refusal must leave alone."""
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [(name, type(part), part.training) for name, part in model.named_modules()]
    return tensors, modes


def equal(one, other):
    return (
        one[1] == other[1]
        and one[0].keys() == other[0].keys()
        and all(torch.equal(value, other[0][name]) for name, value in one[0].items())
    )
