"""An autoencoder: a linear bottleneck between two plain chains."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from walk import Walked, show


def chain(inputs, first, second, outputs):
    layers = nn.Linear(inputs, first), nn.Linear(first, second), nn.Linear(second, outputs)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


class Autoencoder(nn.Module):
    """The decoder reads a code of eight numbers."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = chain(64, 256, 128, 8), chain(8, 128, 256, 64)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def main() -> Walked:
    """It learns to give back what it read."""
    x = torch.randn(128, 64, generator=torch.Generator().manual_seed(1))

    def loss(y: Tensor) -> Tensor:
        return F.mse_loss(y, x)

    return show(Autoencoder, x, loss)


if __name__ == "__main__":
    main()
