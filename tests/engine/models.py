"""Models of every kind that the engine takes, each with a batch for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparsefield.nn import CNN, CST, DNN, CReLU, FATReLU, ShiftedReLU, SoftThreshold
from sparsefield.theory import solve

from .chains import randn, thinned

ONE_SIDED = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
TWO_SIDED = solve("cst", sparsity=0.8, q=2.0, clip=1.0)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def dnn(point=ONE_SIDED, *, inputs=37, width=99, depth=5, skip=0.0) -> DNN:
    return DNN(inputs, width, depth, 7, point, skip=skip, generator=seeded())


def cnn(point=TWO_SIDED, *, width=17, depth=4, **options) -> CNN:
    return CNN(3, width, depth, 7, point, generator=seeded(), **options)


def drawn(*layers: nn.Module) -> nn.Sequential:
    """A sequence with weights from a generator of its own."""
    model, generator = nn.Sequential(*layers), seeded()
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
            parameter.normal_(0.0, fan_in**-0.5, generator=generator)
    return model


def shared_activation() -> nn.Sequential:
    phi = nn.ReLU()
    return drawn(nn.Linear(37, 50), phi, nn.Linear(50, 50), phi, nn.Linear(50, 7), phi)


def shared_layer() -> nn.Sequential:
    layer = nn.Linear(37, 37)
    return drawn(layer, CReLU(0.5, 1.0), layer, CReLU(0.5, 1.0), nn.Linear(37, 7))


def conv(fan_in: int, out: int, kernel: int | tuple[int, int] = 3, **options) -> nn.Conv2d:
    return nn.Conv2d(fan_in, out, kernel, **options)


VECTORS: dict[str, Callable[[], nn.Module]] = {
    "dnn": dnn,
    "dnn, two-sided": lambda: dnn(TWO_SIDED),
    "dnn with a skip": lambda: dnn(skip=0.9),
    "dnn, two-sided, with a skip": lambda: dnn(TWO_SIDED, skip=0.5),
    "dnn of one layer": lambda: dnn(depth=1, width=1),
    "linear alone": lambda: drawn(nn.Linear(37, 7)),
    "two linears": lambda: drawn(nn.Linear(37, 50), nn.Linear(50, 7, bias=False)),
    "relu": lambda: drawn(nn.Linear(37, 50), nn.ReLU(), nn.Linear(50, 7)),
    "relu6": lambda: drawn(nn.Linear(37, 50), nn.ReLU6(), nn.Linear(50, 7)),
    "hardtanh": lambda: drawn(nn.Linear(37, 50), nn.Hardtanh(0.0, 0.5), nn.Linear(50, 7)),
    "softshrink": lambda: drawn(nn.Linear(37, 50), nn.Softshrink(0.7), nn.Linear(50, 7)),
    "ours": lambda: drawn(
        *(nn.Linear(37, 50), ShiftedReLU(0.5), nn.Linear(50, 60), SoftThreshold(0.5)),
        *(nn.Linear(60, 40), CST(0.5, 0.4), nn.Linear(40, 7), CReLU(-0.25, 0.5)),
    ),
    "cut": lambda: drawn(
        *(nn.Linear(37, 50), FATReLU(0.5), nn.Linear(50, 60), FATReLU(0.0), nn.Linear(60, 7)),
    ),
    "leading activation": lambda: drawn(nn.ReLU(inplace=True), nn.Linear(37, 7)),
    "two activations": lambda: drawn(nn.Linear(37, 50), CReLU(0.1, 1.0), nn.ReLU(), nn.ReLU()),
    "one activation used three times": shared_activation,
    "one layer used twice": shared_layer,
    "dropout and identity": lambda: drawn(
        nn.Linear(37, 50), nn.Dropout(0.5), nn.ReLU(), nn.Identity(), nn.AlphaDropout(0.5)
    ),
    "nested": lambda: drawn(
        nn.Sequential(nn.Linear(37, 50), nn.Sequential(nn.ReLU())),
        nn.Sequential(),
        nn.Sequential(nn.Dropout()),
        nn.Sequential(nn.Linear(50, 60), nn.Linear(60, 50)),
        *(nn.ReLU(), nn.Linear(50, 7)),
    ),
    "a network in a sequence": lambda: nn.Sequential(
        nn.Linear(37, 37), dnn(depth=2), nn.ReLU(), nn.Linear(7, 3)
    ),
}
IMAGES: dict[str, Callable[[], nn.Module]] = {
    "cnn, zeros": lambda: cnn(padding="zeros"),
    "cnn, circular": lambda: cnn(ONE_SIDED, padding="circular", pool=3),
    "cnn with a skip": lambda: cnn(padding="zeros", skip=0.5),
    "cnn, circular, with a skip": lambda: cnn(ONE_SIDED, skip=0.9, pool=1),
    "cnn with strides": lambda: cnn(skip=0.5, strides=(1, 3), pool=2),
    "pooling and flatten": lambda: drawn(
        *(conv(3, 9, (5, 3)), CST(0.5, 1.0), nn.MaxPool2d((1, 2)), conv(9, 5, 2, stride=(1, 2))),
        *(nn.ReLU(), nn.AvgPool2d(2, divisor_override=3), nn.Flatten(), nn.Linear(10, 7)),
    ),
    "adaptive pooling": lambda: drawn(
        *(conv(3, 9, padding=1, stride=2), nn.Hardtanh(0.0, 1.0), nn.AdaptiveMaxPool2d((3, None))),
        *(conv(9, 4, 1), nn.Dropout2d(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(4, 7)),
    ),
    "circular, uneven": lambda: drawn(
        conv(3, 9, (3, 5), padding=(1, 2), padding_mode="circular"), CReLU(0.2, 1.0), conv(9, 4)
    ),
    "one pixel": lambda: drawn(
        *(nn.AdaptiveAvgPool2d(1), conv(3, 70, 1), nn.ReLU(), conv(70, 90, 1), CST(0.1, 1.0)),
        *(conv(90, 7, 1), nn.Flatten()),
    ),
}
MODELS = VECTORS | IMAGES


def batch_for(name: str, batch: int, seed: int = 1) -> Tensor:
    """Inputs of which some are zero."""
    shape = (37,) if name in VECTORS else (3, 9, 13)
    return thinned(randn(seed, batch, *shape), 0.7, seed=seed)
