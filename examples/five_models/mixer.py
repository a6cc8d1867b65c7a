"""An MLP-Mixer: one MLP over the patches, one over the channels, a layer norm before each."""

import torch
from torch import nn
from walk import Walked, loss_of_colour, show


def mlp(width):
    return nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


class Mixing(nn.Module):
    """One block: over the patches, then over the channels."""

    def __init__(self, tokens, channels):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.tokens, self.channels = mlp(tokens), mlp(channels)

    def forward(self, x):
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    """Patches of 4 x 4 pixels, three blocks."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 64, 4, 4)
        self.blocks = nn.Sequential(*[Mixing(64, 64) for _ in range(3)])
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(x)).mean(1))


def main() -> Walked:
    """It learns which colour an image has most of."""
    x = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return show(Mixer, x, loss_of_colour(x))


if __name__ == "__main__":
    main()
