"""Runs a chain of products by its plan, and notes how many of their inputs are active."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsefield.errors import InvalidInput

from .gather import gather
from .native import Packed, Storage, kernels
from .plan import Plan, Way, nearest, way
from .products import Chain, Product

# Densities are looked at in every call on a batch, but in one of so many on a few samples, where a
# look would take a tenth of the time; in PyTorch's layers, on so many samples.
_SMALL, _LOOK_EVERY, _LOOK_AT = 16, 16, 8

_Geometry = tuple[NDArray[np.int64], tuple[int, int]]


class Runner:
    """Calls a chain of products.

    The densities last seen decide how the next call runs. A call replaces what it has seen and
    changes nothing in place, so several may run at once.

    Parameters
    ----------
    chain
        what to run.
    storage
        the format in which the kernels hold the weights.
    threads
        that the outputs of a layer are to be shared by.
    instruction_set
        of the kernels; by default the best.
    """

    def __init__(
        self, chain: Chain, storage: Storage, threads: int, instruction_set: str = ""
    ) -> None:
        self.chain = chain
        self.storage = storage
        self.instruction_set = instruction_set
        self._threads = threads
        self._packed = self._pack()
        self._plans: tuple[Plan, ...] = ()
        self._density = np.zeros(len(chain.products))
        self._ways: dict[int, Way] = {}
        self._tables: dict[int, Tensor] = {}
        self._geometries: dict[tuple[tuple[int, int], int, int], _Geometry] = {}
        self._calls = 0

    def _pack(self) -> Packed | None:
        if not kernels():
            return None
        return Packed(self.chain, self.storage, self._threads, self.instruction_set)

    @property
    def packed(self) -> Packed | None:
        """The weights as the kernels have them; None without kernels."""
        if self._packed is None:
            self._packed = self._pack()
        return self._packed

    def release(self) -> None:
        """Give up the packed weights, until they are asked for."""
        self._packed = None

    def __call__(self, x: Tensor) -> Tensor:
        """From the chain's input to phi of its last h; images are [batch, channels, ...].

        Raises
        ------
        InvalidInput
            an input of another shape than the chain reads.
        """
        self.check(x)
        images = self.chain.convolutional
        h = (x.permute(0, 2, 3, 1) if images else x).contiguous()
        self._calls += 1
        look = len(x) > 0 and (len(x) >= _SMALL or self._calls % _LOOK_EVERY == 1)
        y = self.run(h, self._way(len(x)), look=look)
        return y.permute(0, 3, 1, 2) if images else y

    def check(self, x: Tensor) -> None:
        """Whether the chain can read an input of this shape; InvalidInput if not."""
        first = self.chain.products[0]
        images = self.chain.convolutional
        if x.dim() != (4 if images else 2) or x.shape[1] != first.inputs:
            axes = ", height, width" if images else ""
            raise InvalidInput(
                f"{first.name}: got {list(x.shape)}, it reads [batch, {first.inputs}{axes}]; "
                "reshape the input"
            )
        if images:
            size = (int(x.shape[2]), int(x.shape[3]))
            self._geometry(size, 0, len(self.chain.products))

    def values(self, x: Tensor) -> list[int]:
        """How many values a sample of x, [batch, ..., channels], has before each product."""
        size = (int(x.shape[1]), int(x.shape[2])) if self.chain.convolutional else (1, 1)
        values, _ = self._geometry(size, 0, len(self.chain.products))
        return [int(value) for value in values]

    @property
    def always_dense(self) -> bool:
        """Whether there is no sparse way: convolutions without compiled kernels."""
        return self.chain.convolutional and kernels() is None

    def _way(self, batch: int) -> Way:
        """How a batch of this size runs; kept until the next look at the densities."""
        ways = self._ways  # a setter that runs meanwhile puts another in its place
        found = ways.get(batch)
        if found is None:
            plan = nearest(self.plans, batch)
            found = ways[batch] = way(plan.choose(self.density), plan.how)
        return found

    @property
    def plans(self) -> tuple[Plan, ...]:
        """What was measured, one plan for each batch size."""
        return self._plans

    @plans.setter
    def plans(self, plans: tuple[Plan, ...]) -> None:
        self._plans, self._ways = plans, {}

    @property
    def density(self) -> NDArray[np.float64]:
        """Per layer, the share of its inputs that were active when last looked at."""
        return self._density

    @density.setter
    def density(self, density: NDArray[np.float64]) -> None:
        self._density, self._ways = density, {}

    def run(self, h: Tensor, way: Way, *, look: bool = False) -> Tensor:
        """From contiguous x to phi of the last h, [batch, ..., channels]; densities if ``look``."""
        density = self.density.copy() if look else None
        depth, raw = len(way.chosen), False
        for by_torch, first, last in way.stretches:
            raw = by_torch or self.packed is None
            if by_torch:
                h = self.by_torch(h, first, last, density)
            elif self.packed is None:
                h = self.by_gathering(h, first, last, density)
            else:
                h = self.by_kernels(h, first, last, way, density, raw=last < depth)
        if density is not None:
            self.density = density
        return self.chain.products[-1].phi(h) if raw else h

    def by_kernels(
        self,
        h: Tensor,
        first: int,
        last: int,
        way: Way,
        density: NDArray[np.float64] | None,
        *,
        raw: bool,
    ) -> Tensor:
        """Products [first, last) in one call."""
        assert self.packed is not None
        before = (int(h.shape[1]), int(h.shape[2])) if self.chain.convolutional else (1, 1)
        values, size = self._geometry(before, first, last)
        active = None if density is None else np.zeros(len(density), np.int64)
        out = self.packed.run(
            h.contiguous(),
            (first, last),
            size,
            raw=raw,
            threads=1 if way.how == "alone" else torch.get_num_threads(),
            together=way.how == "together",
            rows=way.rows_at,
            active=active,
        )
        if density is not None and active is not None:
            density[first:last] = active[first:last] / (values * len(h))
        return out

    def by_torch(
        self, h: Tensor, first: int, last: int, density: NDArray[np.float64] | None = None
    ) -> Tensor:
        """Products [first, last) by PyTorch."""
        return self._in_turn(h, first, last, density, lambda index, product, y: product.times(y))

    def by_gathering(
        self, h: Tensor, first: int, last: int, density: NDArray[np.float64] | None = None
    ) -> Tensor:
        """Fully connected products [first, last) by ``F.embedding_bag``."""

        def gathered(index: int, product: Product, y: Tensor) -> Tensor:
            return gather(y, self._table(index), product.bias)

        return self._in_turn(h, first, last, density, gathered)

    @torch.no_grad()
    def _in_turn(
        self,
        h: Tensor,
        first: int,
        last: int,
        density: NDArray[np.float64] | None,
        times: Callable[[int, Product, Tensor], Tensor],
    ) -> Tensor:
        """Products [first, last), each W y + b made by ``times``."""
        for index in range(first, last):
            product, y = self.chain.products[index], self.chain.read(index, h)
            if density is not None:
                density[index] = _density(y)
            h = product.joined(h if index else None, times(index, product, y))
        return h

    def _table(self, index: int) -> Tensor:
        """W^T of a product."""
        if index not in self._tables:
            self._tables[index] = self.chain.products[index].weight.t().contiguous()
        return self._tables[index]

    def _geometry(self, size: tuple[int, int], first: int, last: int) -> _Geometry:
        """How many values a sample has before each of the products, and the last one's image."""
        key = (size, first, last)
        found = self._geometries.get(key)
        if found is None:
            found = self._geometries[key] = self._measured(size, first, last)
        return found

    def _measured(self, size: tuple[int, int], first: int, last: int) -> _Geometry:
        values = []
        for product in self.chain.products[first:last]:
            values.append(size[0] * size[1] * product.inputs)
            before, size = size, product.window.after(size) if product.window else size
            if product.skip and not product.keeps_size and size == before:
                raise InvalidInput(
                    f"{product.name}: a strided layer with a skip over an image of {size}; "
                    "give a larger image"
                )
        return np.array(values), size


def _density(y: Tensor) -> float:
    some = y[:_LOOK_AT]
    return int(torch.count_nonzero(some)) / max(1, some.numel())
