"""Whether a model's weights are still those that an engine has copied."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from operator import attrgetter

from torch import Tensor

from .products import Product

_version = attrgetter("_version")
_SOME = 8  # weights that a glimpse takes in


class Versions:
    """Looks for changes in the weights of products.

    In-place changes, an optimiser's step say, are seen by the tensors' version counters; another
    tensor in a layer's place (``load_state_dict(assign=True)``, ``model.to(...)``) by its address.
    """

    def __init__(self, products: Iterable[Product]) -> None:
        held = [
            (product.layer, name, tensor)
            for product in products
            for name, tensor in (("weight", product.weight), ("bias", product.bias))
            if tensor is not None and not tensor.is_inference()  # those have no versions
        ]
        self._tensors = [tensor for _, _, tensor in held]
        self._versions = list(map(_version, self._tensors))
        self._places = [(layer._parameters, name) for layer, name, _ in held if layer is not None]
        self._addresses = list(map(_address, self._places))
        self._turn, self._turns = 0, max(1, math.ceil(len(held) / _SOME))

    def changed(self) -> bool:
        """Look at all."""
        return self._differs(slice(None), slice(None))

    def glimpsed(self, *, versions: bool) -> bool:
        """Look at some, and at all ``versions`` if asked to; in turn, so that calls see all."""
        self._turn = turn = (self._turn + 1) % self._turns
        some = slice(turn * _SOME, (turn + 1) * _SOME)
        return self._differs(slice(None) if versions else some, some)

    def _differs(self, versions: slice, addresses: slice) -> bool:
        return (
            list(map(_version, self._tensors[versions])) != self._versions[versions]
            or list(map(_address, self._places[addresses])) != self._addresses[addresses]
        )


def _address(place: tuple[Mapping[str, Tensor | None], str]) -> int:
    parameters, name = place
    tensor = parameters.get(name)
    return 0 if tensor is None else tensor.data_ptr()
