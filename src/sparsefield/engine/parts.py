"""From a model to what the engine runs: chains of products, and modules that run as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN

from .phi import IDENTITY, Phi, phi_of
from .products import Chain, Product, Window

_SHAPING = (
    *(nn.Flatten, nn.Unflatten, nn.MaxPool2d, nn.AvgPool2d),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
_NOTHING = (  # in evaluation mode
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.AlphaDropout, nn.FeatureAlphaDropout),
)


@dataclass(frozen=True)
class Between:
    """A module that runs as it is.

    Attributes
    ----------
    name
        in the model.
    module
        called with the activations so far: a module in evaluation mode, a :class:`Phi` or a
        function.
    reason
        why the engine cannot take it; None for pooling and reshaping, which belong to no product.
    """

    name: str
    module: Callable[[Tensor], Tensor]
    reason: str | None = None


Part = Chain | Between


def flatten(x: Tensor) -> Tensor:
    """[batch, ...] as [batch, values]."""
    return x if x.dim() == 2 else x.flatten(1)


def parts_of(model: nn.Module, *, training: bool = False) -> tuple[Part, ...]:
    """The parts of a model, in the order in which they run; dropout is one where it acts.

    Raises
    ------
    InvalidInput
        weights that are not float32 on the CPU, or that do not fit together.
    """
    return tuple(_chained(_pieces(model, "", training)))


def _pieces(module: nn.Module, name: str, training: bool) -> Iterator[Product | Between]:
    if _hooked(module):
        yield _as_it_is(module, name or type(module).__name__, _HOOKS)
    elif isinstance(module, DNN) and type(module).forward is DNN.forward:
        yield Between(_join(name, "flatten"), flatten)
        yield from _stack(module, name)
    elif isinstance(module, CNN) and type(module).forward is CNN.forward:
        yield from _stack(module, name)
        yield _as_it_is(module.pool, _join(name, "pool"))
        yield Between(_join(name, "flatten"), flatten)
        yield _product(module.head, _join(name, "head"))
    elif type(module) is nn.Sequential:
        yield from _merged(module, name, training)
    else:
        yield _single(module, name or type(module).__name__)


def _stack(network: DNN | CNN, name: str) -> Iterator[Product | Between]:
    """The hidden layers of the papers' networks, and a DNN's head."""
    for index, (layer, phi) in enumerate(zip(network.layers, network.activations, strict=True)):
        product = _product(layer, _join(name, f"layers.{index}"))
        if isinstance(product, Between):
            raise InvalidInput(f"{product.name}: {product.reason}; the engine needs every layer")
        known = _phi(phi)
        if known is None:
            reason = _HOOKS if _hooked(phi) else f"{type(phi).__name__} is not known here"
            raise InvalidInput(f"activations.{index}: {reason}; the engine needs every layer")
        yield dataclasses.replace(product, phi=known, skip=network.skip if index else 0.0)
    if isinstance(network, DNN):
        yield _product(network.head, _join(name, "head"))


def _merged(sequence: nn.Sequential, name: str, training: bool) -> Iterator[Product | Between]:
    """The pieces of a sequence, an activation joined to the product before it."""
    waiting: Product | None = None
    for child_name, child in sequence._modules.items():  # named_children() skips a second use
        nothing = (nn.Identity,) if training else _NOTHING
        if child is None or (type(child) in nothing and not _hooked(child)):
            continue
        phi = _phi(child)
        if waiting is not None and phi is not None and waiting.phi.kind == "identity":
            waiting = dataclasses.replace(waiting, phi=phi)
            continue
        for piece in _pieces(child, _join(name, child_name), training):
            if waiting is not None:
                yield waiting
            waiting = piece if isinstance(piece, Product) else None
            if not isinstance(piece, Product):
                yield piece
    if waiting is not None:
        yield waiting


def _single(module: nn.Module, name: str) -> Product | Between:
    if isinstance(module, nn.Linear | nn.Conv2d) and (
        type(module) in (nn.Linear, nn.Conv2d) or is_parametrized(module)
    ):
        return _product(module, name)
    phi = phi_of(module)
    if phi is not None:
        return Between(name, phi)
    if isinstance(module, (*_SHAPING, *_NOTHING)):
        return _as_it_is(module, name)
    return _as_it_is(module, name, f"{type(module).__name__} is none of the layers it knows")


_HOOKS = "it has hooks, which may change what it computes"


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _phi(module: nn.Module) -> Phi | None:
    return None if _hooked(module) else phi_of(module)


def _as_it_is(module: nn.Module, name: str, reason: str | None = None) -> Between:
    return Between(name, evaluating_twin(module), reason)


def evaluating_twin(module: nn.Module) -> nn.Module:
    """The module in evaluation mode; it shares all else, and the model stays as it is."""
    twin: nn.Module = object.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    children = {
        name: None if child is None else evaluating_twin(child)
        for name, child in module._modules.items()
    }
    twin.__dict__.update(training=False, _modules=children)
    return twin


def _product(layer: nn.Module, name: str) -> Product | Between:
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    reason = _obstacle(layer)
    if reason is not None:
        return _as_it_is(layer, name, reason)
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


def _obstacle(layer: nn.Linear | nn.Conv2d) -> str | None:
    """Why a layer runs as it is."""
    if is_parametrized(layer):
        return "its weight is computed from others before each call"
    if _hooked(layer):
        return _HOOKS
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


def _chained(pieces: Iterator[Product | Between]) -> Iterator[Part]:
    """Runs of products as chains; an activation just before one belongs to it."""
    before: list[Between] = []  # what no chain has taken yet
    for kind, run in groupby(pieces, key=_kind):
        if kind == "between":
            before += (piece for piece in run if isinstance(piece, Between))
            continue
        last = before[-1].module if before else None
        phi = last if isinstance(last, Phi) else None
        yield from before if phi is None else before[:-1]
        yield Chain(tuple(piece for piece in run if isinstance(piece, Product)), phi or IDENTITY)
        before = []
    yield from before


def _kind(piece: Product | Between) -> str:
    if isinstance(piece, Between):
        return "between"
    return "linear" if piece.window is None else "convolution"


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
