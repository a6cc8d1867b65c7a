"""Models as people write them, with the activations that they have: for sparsify_."""

import torch
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    """Of a ResNet: convolutions without biases, batch norms, one ReLU called in two places."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.down = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.down is None else self.down(x)
        return self.relu(y)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        conv = nn.Conv2d(3, 32, 3, 1, 1, bias=False)
        self.stem = nn.Sequential(conv, nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.stages = nn.Sequential(Residual(32, 32, 1), Residual(32, 64, 2), Residual(64, 64, 1))
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(self.stages(self.stem(x))), 1))


class Mixing(nn.Module):
    def __init__(self, tokens, channels):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.tokens = nn.Sequential(
            nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens)
        )
        self.channels = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, x):
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 64, 4, 4)
        self.blocks = nn.Sequential(*[Mixing(64, 64) for _ in range(3)])
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(x)).mean(1))


class Attending(nn.Module):
    """Of a transformer, pre-norm; its GELU is a function."""

    def __init__(self, width=64, heads=4):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        y = self.ln1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.down(F.gelu(self.up(self.ln2(x))))


class Transformer(nn.Module):
    """With positions of its own, and a head tied to its embedding."""

    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(50, 64), nn.Parameter(torch.zeros(1, 12, 64))
        self.blocks = nn.ModuleList(Attending() for _ in range(2))
        self.ln, self.head = nn.LayerNorm(64), nn.Linear(64, 50, bias=False)
        self.head.weight = self.words.weight

    def forward(self, x):
        x = self.words(x) + self.positions[:, : x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))


def twice(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(),
    )


class UNet(nn.Module):
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


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 8)
        )
        self.decoder = nn.Sequential(
            nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 64)
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


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
