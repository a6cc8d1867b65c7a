"""A transformer, pre-norm: attention, GELU as a function, a head tied to the embedding."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from walk import Walked, show


class Attending(nn.Module):
    """One block: attention, then two layers."""

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
    """With positions of its own, and the embedding as its head."""

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


def main() -> Walked:
    """It learns to say the word before."""
    words = torch.randint(50, (16, 12), generator=torch.Generator().manual_seed(1))

    def loss(scores: Tensor) -> Tensor:
        return F.cross_entropy(scores[:, 1:].flatten(0, 1), words[:, :-1].flatten())

    return show(Transformer, words, loss)


if __name__ == "__main__":
    main()
