"""Whether a model's weights are still those that an engine has copied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter

from torch import Tensor

from .products import Product

_version = attrgetter("_version")
_SOME = 8  # weights that a glimpse takes in

_Place = tuple[Mapping[str, Tensor | None], str]
_Look = tuple[list[Tensor], list[int], list[_Place], list[int]]  # what, and as it was


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
        self._places: list[_Place] = [
            (layer._parameters, name) for layer, name, _ in held if layer is not None
        ]
        self._addresses = list(map(_address, self._places))
        self._turn = 0
        some = [slice(first, first + _SOME) for first in range(0, max(1, len(held)), _SOME)]
        self._turns = [self._looked_at(part, part) for part in some]
        self._fuller = [self._looked_at(slice(None), part) for part in some]

    def changed(self) -> bool:
        """Look at all."""
        return _differs(self._looked_at(slice(None), slice(None)))

    def glimpsed(self, *, versions: bool) -> bool:
        """Look at some, and at all ``versions`` if asked to; in turn, so that calls see all."""
        turns = self._fuller if versions else self._turns
        self._turn = turn = (self._turn + 1) % len(turns)
        return _differs(turns[turn])

    def _looked_at(self, versions: slice, addresses: slice) -> _Look:
        return (
            self._tensors[versions],
            self._versions[versions],
            self._places[addresses],
            self._addresses[addresses],
        )


def _differs(look: _Look) -> bool:
    tensors, versions, places, addresses = look
    return list(map(_version, tensors)) != versions or list(map(_address, places)) != addresses


def _address(place: _Place) -> int:
    parameters, name = place
    tensor = parameters.get(name)
    return 0 if tensor is None else tensor.data_ptr()
