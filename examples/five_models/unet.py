"""A U-Net: max pooling down, transposed convolutions up, and what went down joined to it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from walk import Walked, show


def twice(inputs, outputs):
    first, second = (
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.Conv2d(outputs, outputs, 3, padding=1),
    )
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


class UNet(nn.Module):
    """Two levels down, two levels up."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.middle = twice(1, 32), twice(32, 64), twice(64, 128)
        self.pool = nn.MaxPool2d(2)
        self.up2, self.up1 = nn.ConvTranspose2d(128, 64, 2, 2), nn.ConvTranspose2d(64, 32, 2, 2)
        self.back2, self.back1 = twice(128, 64), twice(64, 32)
        self.out = nn.Conv2d(32, 2, 1)

    def forward(self, x):
        one = self.down1(x)
        two = self.down2(self.pool(one))
        y = self.back2(torch.cat([self.up2(self.middle(self.pool(two))), two], 1))
        return self.out(self.back1(torch.cat([self.up1(y), one], 1)))


def main() -> Walked:
    """It learns which pixels are bright."""
    x = torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    bright = (x[:, 0] > 0.0).long()

    def loss(scores: Tensor) -> Tensor:
        return F.cross_entropy(scores, bright)

    return show(UNet, x, loss)


if __name__ == "__main__":
    main()
