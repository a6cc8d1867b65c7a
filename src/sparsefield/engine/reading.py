"""From a model to what the engine runs: groups of products, and modules that run as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN

from .phi import Phi, phi_of
from .products import Group, Product, Window

_SHAPING = (
    *(nn.Flatten, nn.Unflatten, nn.MaxPool2d, nn.AvgPool2d),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)


@dataclass(frozen=True)
class Between:
    """A module that runs as it is.

    Attributes
    ----------
    name
        in the model.
    module
        called with the activations so far: a module, a :class:`Phi` or a function.
    reason
        why the engine cannot take it; None for pooling and reshaping, which belong to no product.
    """

    name: str
    module: Callable[[Tensor], Tensor]
    reason: str | None = None


Part = Group | Between


def flatten(x: Tensor) -> Tensor:
    """[batch, ...] as [batch, values]."""
    return x if x.dim() == 2 else x.flatten(1)


def read(model: nn.Module) -> tuple[Part, ...]:
    """The parts of a model, in the order in which they run.

    Raises
    ------
    InvalidInput
        weights that are not float32 on the CPU.
    """
    return tuple(_grouped(_pieces(model, "")))


def _pieces(module: nn.Module, name: str) -> Iterator[Product | Between]:
    if isinstance(module, DNN):
        yield Between(_join(name, "flatten"), flatten)
        yield from _stack(module, name)
    elif isinstance(module, CNN):
        yield from _stack(module, name)
        yield Between(_join(name, "pool"), module.pool)
        yield Between(_join(name, "flatten"), flatten)
        yield _product(module.head, _join(name, "head"))
    elif type(module) is nn.Sequential:
        yield from _merged(module, name)
    else:
        yield _single(module, name or type(module).__name__)


def _stack(network: DNN | CNN, name: str) -> Iterator[Product | Between]:
    """The hidden layers of the papers' networks, and a DNN's head."""
    for index, (layer, phi) in enumerate(zip(network.layers, network.activations, strict=True)):
        product = _product(layer, _join(name, f"layers.{index}"))
        if isinstance(product, Between):
            raise InvalidInput(f"{product.name}: {product.reason}; the engine needs every layer")
        known = phi_of(phi)
        if known is None:
            raise InvalidInput(f"activations.{index}: {type(phi).__name__} is not known here")
        yield dataclasses.replace(product, phi=known, skip=network.skip if index else 0.0)
    if isinstance(network, DNN):
        yield _product(network.head, _join(name, "head"))


def _merged(sequence: nn.Sequential, name: str) -> Iterator[Product | Between]:
    """The pieces of a sequence, an activation joined to the product before it."""
    waiting: Product | None = None
    for child_name, child in sequence.named_children():
        if type(child) in _NOTHING:
            continue
        phi = phi_of(child)
        if waiting is not None and phi is not None and waiting.phi.kind == "identity":
            waiting = dataclasses.replace(waiting, phi=phi)
            continue
        if waiting is not None:
            yield waiting
            waiting = None
        *others, final = _pieces(child, _join(name, child_name))
        yield from others
        if isinstance(final, Product):
            waiting = final
        else:
            yield final
    if waiting is not None:
        yield waiting


def _single(module: nn.Module, name: str) -> Product | Between:
    if type(module) in (nn.Linear, nn.Conv2d):
        return _product(module, name)
    if isinstance(module, _SHAPING):
        return Between(name, module)
    phi = phi_of(module)
    if phi is not None:
        return Between(name, phi)
    return Between(name, module, f"{type(module).__name__} is none of the layers it knows")


def _product(layer: nn.Module, name: str) -> Product | Between:
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    reason = _obstacle(layer)
    if reason is not None:
        return Between(name, layer, reason)
    weight = layer.weight.detach()
    bias = None if layer.bias is None else layer.bias.detach()
    for tensor in (weight, bias):
        if tensor is not None and (tensor.dtype != torch.float32 or tensor.device.type != "cpu"):
            raise InvalidInput(
                f"{name}: weights are {tensor.dtype} on {tensor.device}; the engine takes float32 "
                "on the CPU: model.float().cpu()"
            )
    window = _window(layer) if isinstance(layer, nn.Conv2d) else None
    return Product(name, weight, bias, window, Phi())


def _window(layer: nn.Conv2d) -> Window:
    circular = layer.padding_mode == "circular"
    return Window(_pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding), circular)


def _pair(value: Any) -> tuple[int, int]:
    height, width = value
    return int(height), int(width)


def _obstacle(layer: nn.Linear | nn.Conv2d) -> str | None:
    """Why a layer runs as it is."""
    if is_parametrized(layer):
        return "its weight is computed from others before each call"
    if not torch.isfinite(layer.weight).all():
        return "a weight is NaN or infinite, and zero times it is not zero"
    if isinstance(layer, nn.Conv2d):
        if layer.groups != 1 or layer.dilation != (1, 1):
            return f"groups {layer.groups}, dilation {layer.dilation}: it knows neither"
        if isinstance(layer.padding, str) or layer.padding_mode not in ("zeros", "circular"):
            return f"padding {layer.padding!r}, {layer.padding_mode}: it knows zeros and circular"
    return None


def _grouped(pieces: Iterator[Product | Between]) -> Iterator[Part]:
    """Runs of products as groups; an activation just before one belongs to it."""
    run: list[Product] = []
    leading: Between | None = None
    for piece in pieces:
        if run and not (isinstance(piece, Product) and _same_kind(piece, run[0])):
            yield _group(run, leading)
            run, leading = [], None
        if isinstance(piece, Product):
            run.append(piece)
            continue
        if leading is not None:
            yield leading
        leading = piece if isinstance(piece.module, Phi) else None
        if leading is None:
            yield piece
    if run:
        yield _group(run, leading)
    elif leading is not None:
        yield leading


def _group(run: list[Product], leading: Between | None) -> Group:
    if leading is None:
        return Group(tuple(run))
    assert isinstance(leading.module, Phi)
    return Group(tuple(run), leading.module)


def _same_kind(a: Product, b: Product) -> bool:
    return (a.window is None) == (b.window is None)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
