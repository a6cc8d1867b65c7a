"""Models as people write them, each with the arguments of a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsefield.nn import CReLU, crelu

from .chains import randn


def phi() -> nn.Module:
    return CReLU(0.3, 1.5)


class Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1, self.phi1 = nn.BatchNorm2d(out), phi()
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.down = nn.Conv2d(channels, out, 1, stride) if stride > 1 else nn.Identity()
        self.phi2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.phi1(self.bn1(self.conv1(x)))))
        y += self.down(x)
        return self.phi2(y)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), phi()
        )
        self.stages = nn.Sequential(Block(8, 8, 1), Block(8, 12, 2))
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(self.stages(self.stem(x)), 1), 1))


class Mixing(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 20), phi(), nn.Linear(20, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 30), phi(), nn.Linear(30, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.n1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.n2(x))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 4, 4)
        self.blocks = nn.Sequential(Mixing(9, 16), Mixing(9, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(x).flatten(2).transpose(1, 2)).mean(1))


class Attending(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.ln1(x)
        x = x + self.attention(y, y, y, key_padding_mask=mask, need_weights=False)[0]
        return x + self.down(self.drop(crelu(self.up(self.ln2(x)), 0.5, 2.0)))


class Transformer(nn.Module):
    """Its head is its embedding, and it has a mask that need not be given."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(20, 16), nn.Parameter(0.1 * randn(3, 1, 7, 16))
        self.blocks = nn.ModuleList(Attending(16) for _ in range(2))
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, words: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        x = self.embed(words) + self.place[:, : words.shape[1]]
        for block in self.blocks:
            x = block(x, mask)
        return {"logits": self.head(x), "hidden": x}


def twice(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1), phi(), nn.Conv2d(out, out, 3, padding=1), phi()
    )


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.d1, self.d2, self.pool = twice(1, 8), twice(8, 12), nn.MaxPool2d(2)
        self.up, self.merge = nn.ConvTranspose2d(12, 8, 2, 2), twice(16, 8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.d1(x)
        y = self.merge(torch.cat([self.up(self.d2(self.pool(a))), a], 1))
        return self.out(F.relu(self.depthwise(y)))


class AutoEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(24, 40), phi(), nn.Linear(40, 6))
        self.decoder = nn.Sequential(nn.Linear(6, 40), phi(), nn.Linear(40, 24))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encoder(x)
        return self.decoder(code), code


class TwoInputs(nn.Module):
    """A layer used twice, an activation with two readers, keyword arguments, a nested input."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.phi, self.norm = nn.Linear(24, 24), phi(), nn.BatchNorm1d(24)
        self.a, self.b = nn.Linear(24, 9), nn.Linear(24, 9, bias=False)

    def forward(self, x: Tensor, *, others: list[Tensor], scale: float = 1.0) -> Tensor:
        h = self.norm(self.shared(x))
        y = self.phi(self.shared(self.phi(h)) + others[0])
        return self.a(y) + scale * self.b(y)


class Branching(nn.Module):
    """A forward that no tracer can follow: it looks at values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.phi = nn.Linear(24, 40), phi()
        self.second, self.third = nn.Linear(40, 24), nn.Linear(40, 24)

    def forward(self, x: Tensor) -> Tensor:
        y = self.phi(self.first(x))
        return (
            self.second(y)
            if float(y.detach()[:, :20].sum() - y.detach()[:, 20:].sum()) > 0.0
            else self.third(y)
        )


class Partly(nn.Module):
    """As Branching, around modules that can be traced; one of them writes into what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.block, self.tail = Block(8, 8, 1), nn.Sequential(nn.ReLU(inplace=True), twice(8, 4))
        self.heads = nn.ModuleDict({"head": nn.Sequential(nn.Flatten(), nn.Linear(256, 5))})

    def forward(self, x: Tensor, *, again: bool = False) -> Tensor:
        y = self.block(x=self.stem(x))
        z = self.tail(y) + y[:, :4].view(y.shape[0], 4, 8, 8)  # y is overwritten by now
        return self.heads["head"](2.0 * z if float(x.detach().sum()) > 0.0 or again else z)


def settled(model: nn.Module) -> nn.Module:
    """Norms that have seen something, and weights that are nobody's default."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator)
                fan_in = tensor[0].numel() if tensor.dim() > 1 else 100
                if name.endswith("running_var") or (tensor.dim() == 1 and name.endswith("weight")):
                    tensor.copy_(1.0 + 0.1 * noise.abs())
                else:
                    tensor.copy_(1.5 * noise * fan_in**-0.5)
    return model


Arguments = tuple[Any, ...] | dict[str, Any]
OWN: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Arguments]]] = {
    "resnet": (ResNet, lambda n: (randn(1, n, 3, 10, 10),)),
    "mixer": (Mixer, lambda n: (randn(1, n, 3, 12, 12),)),
    "transformer": (
        Transformer,
        lambda n: (torch.randint(20, (n, 7), generator=torch.Generator().manual_seed(1)),),
    ),
    "unet": (UNet, lambda n: (randn(1, n, 1, 12, 12),)),
    "autoencoder": (AutoEncoder, lambda n: (randn(1, n, 24),)),
    "two inputs": (
        TwoInputs,
        lambda n: {"x": randn(1, n, 24), "others": [randn(2, n, 24)], "scale": 0.5},
    ),
}


def own(name: str) -> nn.Module:
    return settled(OWN[name][0]())


def called(model: Callable[..., Any], arguments: Arguments) -> Any:
    """The model with these arguments."""
    return model(**arguments) if isinstance(arguments, dict) else model(*arguments)


def leaves(output: Any) -> list[Tensor]:
    """The tensors of an output."""
    if isinstance(output, Tensor):
        return [output]
    values = output.values() if isinstance(output, dict) else output
    return [tensor for value in values for tensor in leaves(value)]
