"""A ResNet: convolutions without biases, batch norms, one ReLU called in two places."""

import torch
from torch import nn
from walk import Walked, loss_of_colour, show


class Residual(nn.Module):
    """Two convolutions, and what they read added to what they make."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.relu, self.down = nn.ReLU(inplace=True), nn.Identity()
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.down = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.down(x)
        return self.relu(y)


class ResNet(nn.Module):
    """A stem and three blocks."""

    def __init__(self):
        super().__init__()
        conv = nn.Conv2d(3, 32, 3, 1, 1, bias=False)
        self.stem = nn.Sequential(conv, nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.stages = nn.Sequential(Residual(32, 32, 1), Residual(32, 64, 2), Residual(64, 64, 1))
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(self.stages(self.stem(x))), 1))


def main() -> Walked:
    """It learns which colour an image has most of."""
    x = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return show(ResNet, x, loss_of_colour(x))


if __name__ == "__main__":
    main()
