"""One layer as a product, or why the engine cannot take it."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from .phi import Phi
from .products import Product, Window

HOOKS = "it has hooks, which may change what it computes"


def is_layer(module: nn.Module) -> bool:
    """Whether it is a Linear or Conv2d, and of no class that may compute something else."""
    return isinstance(module, nn.Linear | nn.Conv2d) and (
        type(module) in (nn.Linear, nn.Conv2d) or is_parametrized(module)
    )


def holds_layers(module: nn.Module) -> bool:
    """Whether there is a Linear or Conv2d inside it."""
    return any(is_layer(inner) for inner in module.modules() if inner is not module)


def hooked(module: nn.Module) -> bool:
    """Whether more than its class's forward runs when it is called."""
    own_forward = "forward" in vars(module)
    return own_forward or bool(module._forward_hooks or module._forward_pre_hooks)


def obstacle(layer: nn.Module) -> str | None:
    """Why a layer runs as it is; None if it can be a product."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    if is_parametrized(layer):
        return "its weight is computed from others before each call"
    if hooked(layer):
        return HOOKS
    if not layer.weight.numel():
        return "it holds no weight"
    if layer.weight.device.type == "cpu" and not layer.weight.detach().isfinite().all():
        return "a weight is NaN or infinite, and zero times it is not zero"
    if isinstance(layer, nn.Conv2d):
        if layer.groups != 1 or layer.dilation != (1, 1):
            return f"groups {layer.groups}, dilation {layer.dilation}: it knows neither"
        if isinstance(layer.padding, str) or layer.padding_mode not in ("zeros", "circular"):
            return f"padding {layer.padding!r}, {layer.padding_mode}: it knows zeros and circular"
    return None


def product_of(layer: nn.Module, name: str) -> Product:
    """The product that a layer without obstacle is.

    Raises
    ------
    InvalidInput
        weights that are not float32 on the CPU.
    """
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    weight = layer.weight.detach()
    bias = None if layer.bias is None else layer.bias.detach()
    window = _window(layer) if isinstance(layer, nn.Conv2d) else None
    return Product(name, weight, bias, window, Phi(), layer=layer)


def _window(layer: nn.Conv2d) -> Window:
    circular = layer.padding_mode == "circular"
    return Window(_pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding), circular)


def _pair(value: Any) -> tuple[int, int]:
    height, width = value
    return int(height), int(width)


def folds(norm: nn.Module, product: Product) -> bool:
    """Whether a norm that follows a product is, in evaluation, a scale and shift of its outputs."""
    kind = nn.BatchNorm1d if product.window is None else nn.BatchNorm2d
    if type(norm) is not kind or hooked(norm) or norm.running_var is None:
        return False
    free = product.phi.kind == "identity" and product.norm is None and not product.skip
    float32 = norm.running_var.dtype == product.weight.dtype
    return free and float32 and norm.num_features == product.outputs


def folded(product: Product, norm: nn.Module) -> Product:
    """W y + b and the norm after it, as one product."""
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double()
    if product.bias is not None:
        shift = shift + product.bias.double()
    bias = shift * scale
    if norm.bias is not None:
        bias = bias + norm.bias.detach().double()
    weight = product.weight.double() * _by_output(scale, product.weight)
    return dataclasses.replace(product, weight=weight.float(), bias=bias.float(), norm=norm)


def _by_output(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (weight.dim() - 1)).to(torch.float64)
