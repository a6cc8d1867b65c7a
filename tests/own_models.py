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
