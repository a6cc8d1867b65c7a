"""From a model to what the engine runs: chains of products, and modules that run as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from torch import Tensor, nn

from sparsefield.errors import InvalidInput
from sparsefield.nn import CNN, DNN

from .layers import HOOKS, folded, folds, hooked, is_layer, obstacle, product_of
from .phi import IDENTITY, Phi, phi_of
from .products import Chain, Product
from .twins import twin_of

_SHAPING = (
    *(nn.Flatten, nn.Unflatten, nn.MaxPool2d, nn.AvgPool2d),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
NOTHING = (  # in evaluation mode
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.AlphaDropout, nn.FeatureAlphaDropout),
)


class Unreadable(InvalidInput):
    """One of the papers' networks with a layer in it that is not theirs."""


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
    if hooked(module):
        yield _as_it_is(module, name or type(module).__name__, HOOKS)
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
            raise Unreadable(f"{product.name}: {product.reason}; the engine needs every layer")
        known = _phi(phi)
        if known is None:
            reason = HOOKS if hooked(phi) else f"{type(phi).__name__} is not known here"
            raise Unreadable(f"activations.{index}: {reason}; the engine needs every layer")
        yield dataclasses.replace(product, phi=known, skip=network.skip if index else 0.0)
    if isinstance(network, DNN):
        yield _product(network.head, _join(name, "head"))


def _merged(sequence: nn.Sequential, name: str, training: bool) -> Iterator[Product | Between]:
    """The pieces of a sequence; a norm and an activation are joined to the product before them."""
    waiting: Product | None = None
    for child_name, child in sequence._modules.items():  # named_children() skips a second use
        nothing = (nn.Identity,) if training else NOTHING
        if child is None or (type(child) in nothing and not hooked(child)):
            continue
        joined = None if waiting is None else _joined(waiting, child, training)
        if joined is not None:
            waiting = joined
            continue
        for piece in _pieces(child, _join(name, child_name), training):
            if waiting is not None:
                yield waiting
            waiting = piece if isinstance(piece, Product) else None
            if not isinstance(piece, Product):
                yield piece
    if waiting is not None:
        yield waiting


def _joined(product: Product, after: nn.Module, training: bool) -> Product | None:
    """A product with the norm or activation that follows it, if that can be a part of it."""
    if not training and folds(after, product):
        return folded(product, after)
    phi = _phi(after)
    if phi is not None and product.phi.kind == "identity":
        return dataclasses.replace(product, phi=phi)
    return None


def _single(module: nn.Module, name: str) -> Product | Between:
    if is_layer(module):
        return _product(module, name)
    phi = phi_of(module)
    if phi is not None:
        return Between(name, phi)
    if isinstance(module, (*_SHAPING, *NOTHING)):
        return _as_it_is(module, name)
    return _as_it_is(module, name, f"{type(module).__name__} is none of the layers it knows")


def _phi(module: nn.Module) -> Phi | None:
    return None if hooked(module) else phi_of(module)


def _as_it_is(module: nn.Module, name: str, reason: str | None = None) -> Between:
    return Between(name, twin_of(module, evaluating=True), reason)


def _product(layer: nn.Module, name: str) -> Product | Between:
    reason = obstacle(layer)
    return product_of(layer, name) if reason is None else _as_it_is(layer, name, reason)


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
