"""Random chains of products, and what they compute in float64, from the definitions alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sparsefield.engine.native import Packed
from sparsefield.engine.phi import IDENTITY, Phi
from sparsefield.engine.products import Chain, Product, Window

RTOL = 1e-5  # of what the terms of a sum add up to in size


@dataclass(frozen=True)
class Truth:
    """A float64 result [batch, ...], the scale of its terms, and the active inputs per layer.

    ``jumps``: a cut lies so near to its threshold that rounding decides whether it is zero.
    """

    out: Tensor
    scale: float
    active: tuple[int, ...]
    jumps: bool = False


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def thinned(x: Tensor, density: float, seed: int) -> Tensor:
    """x with this share of its values kept, and the others exactly zero."""
    kept = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < density
    return torch.where(kept, x, 0.0)


def linear(
    seed: int, sizes: list[int], phis: list[Phi], skip: float = 0.0, before: Phi = IDENTITY
) -> Chain:
    """A fully connected chain; a layer as wide as what it reads has the skip."""
    products = []
    for index, (fan_in, out, phi) in enumerate(zip(sizes[:-1], sizes[1:], phis, strict=True)):
        weight = randn(seed + 2 * index, out, fan_in) / math.sqrt(fan_in)
        bias = None if (seed + index) % 3 == 0 else randn(seed + 2 * index + 1, out)
        kept = skip if index and fan_in == out else 0.0
        products.append(Product(f"layers.{index}", weight, bias, None, phi, kept))
    return Chain(tuple(products), before)


def convolutions(
    seed: int,
    channels: list[int],
    windows: list[Window],
    phis: list[Phi],
    skip: float = 0.0,
    before: Phi = IDENTITY,
) -> Chain:
    """A convolutional chain; a layer that keeps size and channels has the skip."""
    products = []
    for index, (window, phi) in enumerate(zip(windows, phis, strict=True)):
        fan_in, out = channels[index], channels[index + 1]
        scale = math.sqrt(fan_in * math.prod(window.kernel))
        weight = randn(seed + 2 * index, out, fan_in, *window.kernel) / scale
        bias = None if (seed + index) % 3 == 0 else randn(seed + 2 * index + 1, out)
        kept = skip if index and fan_in == out else 0.0
        products.append(Product(f"layers.{index}", weight, bias, window, phi, kept))
    return Chain(tuple(products), before)


def phi64(phi: Phi, h: Tensor) -> Tensor:
    """The activation by its definition."""
    if phi.kind == "identity":
        return h
    if phi.kind == "cut":
        return torch.where(h <= phi.tau, 0.0, h)
    if phi.kind == "one_sided":
        return (h - phi.tau).clamp(0.0, phi.m)
    return h.sign() * (h.abs() - phi.tau).clamp(0.0, phi.m)


def product64(product: Product, weight: Tensor, y: Tensor, bias: Tensor | None) -> Tensor:
    """W y + b by PyTorch in float64; images are [batch, channels, height, width]."""
    if product.window is None:
        return F.linear(y, weight, bias)
    _, stride, (high, wide), circular = product.window
    if circular:
        return F.conv2d(F.pad(y, (wide, wide, high, high), mode="circular"), weight, bias, stride)
    return F.conv2d(y, weight, bias, stride, (high, wide))


def truth(
    chain: Chain,
    x: Tensor,
    layers: tuple[int, int] | None = None,
    *,
    raw: bool = True,
    rounded: str = "float32",
) -> Truth:
    """Layers [first, last) in float64, with weights rounded as the format does."""
    first, last = layers or (0, len(chain.products))
    h, scale, active, jumps = x.double(), 0.0, [], False
    for index in range(first, last):
        product = chain.products[index]
        jumps |= index > first and near_a_cut(chain.phi_read(index), h, scale)
        y = phi64(chain.phi_read(index), h)
        active.append(int((y != 0).sum()))
        skip = product.skip if product.keeps_size else 0.0
        share = math.sqrt(1.0 - skip)
        weight = ROUNDINGS[rounded](product.weight * share).double()
        bias = None if product.bias is None else product.bias.double() * share
        sizes = product64(product, weight.abs(), y.abs(), None if bias is None else bias.abs())
        scale = max(scale, float(sizes.max()) if sizes.numel() else 0.0)
        update = product64(product, weight, y, bias)
        h = update + math.sqrt(skip) * h if skip else update
        scale = max(scale, float(h.abs().max()) if h.numel() else 0.0)
    phi = IDENTITY if raw else chain.products[last - 1].phi
    jumps |= near_a_cut(phi, h, scale)
    return Truth(phi64(phi, h), scale, tuple(active), jumps)


def near_a_cut(phi: Phi, h: Tensor, scale: float) -> bool:
    return phi.kind == "cut" and bool(((h - phi.tau).abs() <= 2 * RTOL * scale).any())


def bfloat16(weight: Tensor) -> Tensor:
    """Rounded to nearest, ties to even, on the bits."""
    bits = weight.contiguous().view(torch.int32).long() & 0xFFFFFFFF
    kept = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    return torch.from_numpy(kept.numpy().astype(np.uint32).view(np.float32)).view(weight.shape)


def int8(weight: Tensor) -> Tensor:
    """Whole steps of a 127th of each output's largest weight, halves away from zero."""
    step = weight.flatten(1).abs().amax(dim=1) / 127.0
    step = step.view(-1, *[1] * (weight.dim() - 1))
    steps = torch.where(step > 0, weight / step, 0.0).double()
    return (steps.sign() * (steps.abs() + 0.5).floor()).clamp(-127, 127) * step.double()


ROUNDINGS = {"float32": lambda weight: weight, "bfloat16": bfloat16, "int8": int8}


def run(
    packed: Packed,
    chain: Chain,
    x: Tensor,
    layers: tuple[int, int] | None = None,
    *,
    raw: bool = True,
    threads: int = 1,
    together: bool = False,
    rows: list[bool] | None = None,
) -> tuple[Tensor, tuple[int, ...]]:
    """The kernels on x [batch, ...] (images [batch, channels, ...]): result, active inputs."""
    depth = len(chain.products)
    first, last = layers or (0, depth)
    size = (int(x.shape[2]), int(x.shape[3])) if chain.convolutional else (1, 1)
    for product in chain.products[first:last]:
        size = product.window.after(size) if product.window else size
    given = x.permute(0, 2, 3, 1) if chain.convolutional else x
    active, dense = np.zeros(depth, np.int64), np.array(rows or [False] * depth, np.uint8)
    out = packed.run(
        given.contiguous(),
        (first, last),
        size,
        raw=raw,
        threads=threads,
        together=together,
        rows=dense.ctypes.data,
        active=active,
    )
    counts = tuple(int(n) for n in active[first:last])
    return (out.permute(0, 3, 1, 2) if chain.convolutional else out), counts


def agrees(out: Tensor, expected: Truth, rtol: float = RTOL) -> bool:
    """Whether out is the truth, to rtol of the scale."""
    assert out.shape == expected.out.shape
    if not out.numel():
        return True
    return bool((out.double() - expected.out).abs().max() <= rtol * expected.scale)
