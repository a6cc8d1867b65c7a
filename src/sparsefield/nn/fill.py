"""Filling one layer, and how much of what it reads arrives at its output."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import skip_init
from torch.nn.utils.parametrize import is_parametrized

Weights = Literal["gaussian", "orthogonal", "delta"]
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (*LAYERS[1:], *TRANSPOSED)
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


def is_plain(layer: nn.Module) -> bool:
    """Whether the weight is a parameter of its own, not computed from others before each call."""
    return isinstance(layer._parameters.get("weight"), nn.Parameter) and not is_parametrized(layer)


def fan_in(layer: Layer | Transposed) -> int:
    """Inputs that meet in one output, the kernel's taps included."""
    weight = layer.weight
    if isinstance(layer, TRANSPOSED):
        return weight.shape[0] // layer.groups * math.prod(weight.shape[2:])
    return math.prod(weight.shape[1:])


@torch.no_grad()
def fill(
    layer: Layer | Transposed,
    weight_variance: float,
    bias_variance: float | None,
    generator: Generator | None,
    weights: Weights = "gaussian",
    *,
    even: bool = False,
) -> None:
    """Weights of variance ``weight_variance`` / fan_in; a bias variance of None leaves the bias.

    ``even`` biases are Gaussian as the others are, and lie evenly: one in each of as many equally
    likely strata. In a narrow layer the zeros depend most on how its few biases fall.
    """
    if weights == "gaussian":
        std = math.sqrt(weight_variance / fan_in(layer))
        layer.weight.normal_(0.0, std, generator=generator)
    else:
        for block in layer.weight.chunk(getattr(layer, "groups", 1)):
            _fill_orthogonal(block, weights, weight_variance, generator)
    if layer.bias is not None and bias_variance is not None:
        std = math.sqrt(bias_variance)
        if even:
            layer.bias.copy_(_even(layer.bias, generator).mul_(std))
        else:
            layer.bias.normal_(0.0, std, generator=generator)


def _even(like: Tensor, generator: Generator | None) -> Tensor:
    """Standard normal numbers, the shape of ``like``, each from its own stratum."""
    count, device = len(like), like.device
    place = torch.randperm(count, generator=generator, device=device)
    inside = torch.rand(count, generator=generator, device=device, dtype=torch.float64)
    inside = inside.clamp(1e-6, 1.0 - 1e-6)  # no infinity at the ends
    even: Tensor = torch.special.ndtri((place + inside) / count)
    return even


def _fill_orthogonal(
    block: Tensor, weights: Weights, variance: float, generator: Generator | None
) -> None:
    """One group's weights [out, in, *kernel]: E[h^2] = variance times the mean square read."""
    target = block
    if weights == "delta":
        block.zero_()
        target = block[_centre_tap(block)]
    out, columns = target.shape[0], math.prod(target.shape[1:])
    # orthonormal columns (out > fan_in) spread the input's energy over more outputs
    gain = math.sqrt(variance * max(1.0, out / columns))
    target.copy_(_orthogonal(out, columns, block, generator).mul_(gain).view(target.shape))


def _centre_tap(block: Tensor) -> tuple[slice | int, ...]:
    return (slice(None), slice(None), *(size // 2 for size in block.shape[2:]))


def _orthogonal(rows: int, columns: int, like: Tensor, generator: Generator | None) -> Tensor:
    """Haar-distributed semi-orthogonal matrix [rows, columns] on the device of ``like``."""
    dtype = torch.promote_types(like.dtype, torch.float32)  # no QR in half precision
    flat = torch.empty(rows, columns, dtype=dtype, device=like.device)
    return nn.init.orthogonal_(flat, generator=generator)


@torch.no_grad()
def read_moment(layer: Layer | Transposed, x: Tensor) -> float:
    """E[h^2] / ``weight_variance`` over the weights of ``layer``, bias apart, for this input.

    The mean square of ``x`` for a linear layer; for a convolution each input counts as often as
    taps read it, so that padding, stride and dilation are in it.

    >>> round(read_moment(nn.Conv2d(2, 5, 3, padding=1), torch.ones(1, 2, 4, 4)), 4)
    0.6944
    """
    power = x.to(torch.promote_types(x.dtype, torch.float32)).square()
    if isinstance(layer, nn.Linear):
        return power.mean().item()
    channels = -len(layer.kernel_size) - 1
    arriving: Tensor = _one_channel(layer, power)(power.mean(channels, keepdim=True))
    return arriving.mean().item()


def _one_channel(layer: nn.Module, like: Tensor) -> nn.Module:
    """A convolution of this geometry that averages over its taps."""
    kind = next(kind for kind in _CONVOLUTIONS if isinstance(layer, kind))
    names = ["kernel_size", "stride", "padding", "dilation", "padding_mode"]
    names += ["output_padding"] if isinstance(layer, TRANSPOSED) else []
    shape = {name: getattr(layer, name) for name in names}
    twin: nn.Module = skip_init(
        kind, 1, 1, bias=False, dtype=like.dtype, device=like.device, **shape
    )
    nn.init.constant_(twin.weight, 1.0 / math.prod(layer.kernel_size))  # type: ignore[arg-type]
    return twin


def loses_at_edges(layer: nn.Module) -> bool:
    """Whether some taps read padded zeros, so that less variance arrives there."""
    if not isinstance(layer, LAYERS[1:]) or layer.padding_mode != "zeros":
        return False
    padding = layer.padding
    wide = any(size > 1 for size in layer.kernel_size)
    return wide and (padding == "same" if isinstance(padding, str) else any(padding))
