"""Which products of a model read an activation, and how many zeros they read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from torch import Tensor, nn

from sparsefield.watch import Call, Passes, Watch, is_activation, modules_of

Layer = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class Seen:
    """One product by a weight, as it was seen in a forward pass.

    Attributes
    ----------
    name
        of the layer in the model.
    layer
        the module itself.
    activation
        the module whose output the layer reads as it is, None for any other input.
    source
        what the activation read, or without one what the layer read.
    zeros
        share of exact zeros in what the layer read.
    macs
        dense multiply-adds of the whole batch.
    """

    name: str
    layer: Layer
    activation: nn.Module | None
    source: Tensor
    zeros: float
    macs: float

    def alone(self) -> nn.Module:
        """The layer, after its activation where it has one, as a model of its own."""
        if self.activation is None:
            return nn.Sequential(self.layer)
        return nn.Sequential(self.activation, self.layer)

    @property
    def shape(self) -> str:
        """The weight's sizes and, for a convolution, its step and padding, in words."""
        kind = type(self.layer).__name__
        sizes = " x ".join(str(size) for size in self.layer.weight.shape[::-1])
        if isinstance(self.layer, nn.Linear):
            return f"{kind} {sizes}"
        return f"{kind} {sizes}, stride {self.layer.stride[0]}, {self.layer.padding_mode}"


@dataclass(frozen=True)
class Zeros:
    """Zeros of a whole network.

    Attributes
    ----------
    mean
        s, the mean over the activations of their shares of exact zeros.
    by_activation
        the share of each, by name.
    ceiling
        dense multiply-adds over those that meet a non-zero: what a perfect engine could gain
        in arithmetic, the dense first layer included; None where none does.
    """

    mean: float
    by_activation: dict[str, float]
    ceiling: float | None


def seeing(
    model: nn.Module,
    product: Callable[[Seen], None],
    activation: Callable[[Call], None] = lambda call: None,
) -> AbstractContextManager[Passes]:
    """Tell of every product and every activation of a forward pass inside the block, in order."""
    last: list[Call] = []  # held, so that no other tensor can be its output

    def see(call: Call) -> None:
        if isinstance(call.module, Layer):
            product(_product(call, last))
        else:
            last[:] = [call]
            activation(call)

    watched = modules_of(model, lambda part: isinstance(part, Layer) or is_activation(part))
    return Watch(model, watched).passes(see)


def products(model: nn.Module, x: Tensor) -> list[Seen]:
    """Every product of one forward pass on ``x``, without their inputs."""
    found: list[Seen] = []
    with seeing(model, lambda product: found.append(_light(product))):
        model(x)
    return found


def sources(model: nn.Module, batches: Sequence[Tensor], name: str) -> list[Seen]:
    """The product of one layer on every batch, with its input."""
    found: list[Seen] = []

    def see(product: Seen) -> None:
        if product.name == name:
            found.append(product)

    with seeing(model, see):
        for x in batches:
            model(x)
    return found


def measured_zeros(model: nn.Module, batches: Sequence[Tensor]) -> Zeros:
    """The zeros of every activation and product, over all batches."""
    shares: dict[str, list[float]] = {}
    seen: list[Seen] = []

    def zeros(call: Call) -> None:
        shares.setdefault(call.place.name, []).append(zero_share(call.output))

    with seeing(model, lambda product: seen.append(_light(product)), zeros) as passes:
        for x in batches:
            model(x)
    passes.warn()
    means = {name: sum(values) / len(values) for name, values in shares.items()}
    mean = sum(means.values()) / len(means) if means else 0.0
    met = sum(product.macs * (1.0 - product.zeros) for product in seen)
    dense = sum(product.macs for product in seen)
    return Zeros(mean, means, dense / met if met else None)


def zero_share(values: Tensor) -> float:
    """Share of exact zeros; 0 of an empty tensor."""
    return 1.0 - int(values.count_nonzero()) / max(values.numel(), 1)


def _product(call: Call, last: list[Call]) -> Seen:
    layer = call.module
    assert isinstance(layer, Layer)
    follows = bool(last) and last[0].output is call.read
    activation, source = (last[0].module, last[0].read) if follows else (None, call.read)
    macs = call.output.numel() * layer.weight[0].numel()  # fan_in multiply-adds an output
    return Seen(call.place.name, layer, activation, source, zero_share(call.read), float(macs))


def _light(product: Seen) -> Seen:
    """Without the input, so that a deep network's are not all held at once."""
    return replace(product, source=product.source.new_empty(0))
