"""Initialise a PyTorch model of your own at 90 % sparsity, and see that every layer holds it."""

from __future__ import annotations

import torch
from torch import nn

import sparsefield as sf


def main() -> None:
    """A small convolutional model with a grouped layer and a linear head."""
    torch.manual_seed(0)
    point = sf.solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
    model = nn.Sequential(
        nn.Conv2d(3, 192, 3, padding=1, padding_mode="circular"),
        sf.activation(point),
        nn.Conv2d(192, 256, 3, padding=1, padding_mode="circular", groups=2),
        sf.activation(point),
        nn.Conv2d(256, 128, 3, padding=1, padding_mode="circular"),
        sf.activation(point),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    images = torch.randn(32, 3, 16, 16)
    print(sf.init_(model, point, input_moment=images.pow(2).mean().item()))
    h = images
    for layer in model:
        h = layer(h)
        if isinstance(layer, sf.CReLU):
            print(f"exact zeros {(h == 0).float().mean():.3f}")


if __name__ == "__main__":
    main()
