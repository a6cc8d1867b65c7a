"""All tallies of a run over data, and what finds no place in any of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._mode_utils import no_dispatch

from sparsefield.energy.counted import ActivationCount, LayerCount
from sparsefield.energy.products import Path, Weights, as_layer, factors, macs
from sparsefield.energy.rows import CONNECTIONS, Connection
from sparsefield.energy.tally import ActivationTally, LayerTally
from sparsefield.watch import Call, Passes, modules_of


class Tallies:
    """Adds up what a model does.

    Parameters
    ----------
    model
        whose weights they are.
    carrying
        its layers whose output joins a dense stream.
    """

    def __init__(self, model: nn.Module, carrying: Collection[nn.Module]) -> None:
        self._model, self._parts = model, modules_of(model, lambda _: True)
        self._weights = Weights(self._parts)
        self._carrying = carrying
        self._layers: dict[Hashable, LayerTally] = {}
        self._activations: dict[str, ActivationTally] = {}
        self._placed: set[Path] = set()  # weights whose products are counted or named
        self._others: Counter[str] = Counter()  # products in no column

    def see(self, call: Call) -> None:
        """A layer or an activation was called."""
        with no_dispatch(), torch._C.DisableTorchFunction():  # what is counted here is not work
            if isinstance(call.module, CONNECTIONS):  # twice in a pass, it is one set of weights
                name = call.place.name
                self._layer(name, name, call.module).see(call.read, call.output)
                return
            name = str(call.place)  # twice in a pass, it stands at two places
            if name not in self._activations:
                self._activations[name] = ActivationTally(call)
            self._activations[name].see(call)

    def product(
        self, inside: Sequence[str], operator: str, args: Sequence[Any], output: Any
    ) -> None:
        """A product was made while the modules ``inside`` were at work, outermost first."""
        if not inside:  # it is none of the model
            return
        read_by = factors(operator, args)
        held = {index: paths for index, x in read_by.items() if (paths := self._weights.paths(x))}
        paths = [path for found in held.values() for path in found]
        if self._is_of_a_layer(inside, paths):
            return
        self._placed.update(paths)
        found = as_layer(operator, args, set(held))
        if found is None:
            self._name(inside[-1], paths, operator, args, output)
            return
        layer, read = found
        (weight,) = (read_by[index] for index in held)
        self._by_hand(paths, layer, weight).see(read, output)

    def layers(self, samples: int) -> tuple[LayerCount, ...]:
        """The layers in order of execution."""
        return tuple(tally.result(samples) for tally in self._layers.values())

    def activations(self) -> tuple[ActivationCount, ...]:
        """The activations in order of execution."""
        return tuple(tally.result() for tally in self._activations.values())

    def uncounted(self, samples: int, passes: Passes) -> Iterator[str]:
        """Modules of other kinds, products of activations, functions, and what was not called."""
        for name, part in self._parts.items():
            if not isinstance(part, CONNECTIONS) and self._is_unplaced(name, part):
                yield f"{name} ({type(part).__name__})"
        for name, products in self._others.items():
            yield f"{name}: {products / samples:g} MACs)" if products else f"{name})"
        counted = {tally.name for tally in self._layers.values()}
        yield from (f"{name} (not called)" for name in passes.missing if name not in counted)
        yield from (f"{where} (the function {name})" for where, name in passes.functions)

    def _is_of_a_layer(self, inside: Sequence[str], paths: Sequence[Path]) -> bool:
        """Whether the layer that is at work makes this product, which is seen with its call."""
        name = next((n for n in reversed(inside) if isinstance(self._parts[n], CONNECTIONS)), None)
        if name is None:
            return False
        # a weight that is computed, by weight norm say, is held nowhere
        return not paths or any(
            path == (name, "weight") or path[0].startswith(f"{name}.parametrizations")
            for path in paths
        )

    def _name(
        self, where: str, paths: Sequence[Path], operator: str, args: Sequence[Any], output: Any
    ) -> None:
        kind = "attention" if "attention" in operator else operator.strip("_")
        if (where, "weight") in paths:
            kind = type(self._parts[where]).__name__
        self._others[f"{where} ({kind}"] += macs(operator, args, output) or 0

    def _by_hand(self, paths: Sequence[Path], layer: Connection, weight: Tensor) -> LayerTally:
        for name, key in paths:
            owner = self._parts[name]
            if key == "weight" and isinstance(owner, CONNECTIONS):
                if _is(owner, layer):
                    return self._layer(name, name, owner)
                break
        else:
            name = self._path(*paths[0])
        view = (weight.data_ptr(), weight.shape, weight.stride(), layer.extra_repr())
        return self._layer((name, view), name, layer)

    def _path(self, owner: str, key: str) -> str:
        if key == "weight":
            return owner
        return key if self._parts[owner] is self._model else f"{owner}.{key}"

    def _layer(self, key: Hashable, name: str, layer: Connection) -> LayerTally:
        if key not in self._layers:
            same = sum(tally.name.partition("#")[0] == name for tally in self._layers.values())
            label = f"{name}#{same + 1}" if same else name
            self._layers[key] = LayerTally(label, layer, carries=layer in self._carrying)
        return self._layers[key]

    def _is_unplaced(self, name: str, part: nn.Module) -> bool:
        own = {key: p for key, p in part._parameters.items() if p is not None}
        matrices = {(name, key) for key, p in own.items() if is_lazy(p) or p.dim() > 1}
        return bool(own) and not (matrices and matrices <= self._placed)


def _is(owner: Connection, layer: Connection) -> bool:
    """Whether a product by hand is what its weight's own layer would do."""
    a, b = owner.weight, layer.weight
    same = (a.data_ptr(), a.shape, a.stride()) == (b.data_ptr(), b.shape, b.stride())
    return same and owner.extra_repr() == layer.extra_repr()
