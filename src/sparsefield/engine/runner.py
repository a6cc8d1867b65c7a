"""Runs a group of products by its plan, and watches how many of their inputs are active."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsefield.errors import InvalidInput

from .gather import gather
from .native import Packed, Weights, kernels
from .plan import ROWS, How, Plan, nearest, stretches
from .products import Group

_LOOK_EVERY, _LOOK_AT = 16, 8  # PyTorch's layers are counted in some calls, on some samples


class Runner:
    """Calls a group of products.

    ``density`` is the share of active inputs per layer as last seen. It decides how the next call
    runs; a call works on its own copy, so several may run at once.

    Parameters
    ----------
    group
        what to run.
    weights
        the format that the kernels store them in.
    threads
        that the outputs of a layer are to be shared by.
    instruction_set
        of the kernels; by default the best.
    """

    def __init__(
        self, group: Group, weights: Weights, threads: int, instruction_set: str = ""
    ) -> None:
        self.group = group
        self.weights = weights
        self.packed = Packed(group, weights, threads, instruction_set) if kernels() else None
        self.plans = ()
        self.density = np.zeros(len(group.products))
        self._tables: dict[int, Tensor] = {}
        self._stretches: dict[bytes, tuple[tuple[bool, int, int], ...]] = {}
        self._geometries: dict[
            tuple[torch.Size, int, int], tuple[NDArray[np.int64], tuple[int, int]]
        ] = {}
        self._calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        """From the group's input to phi of its last h; images are [batch, channels, ...].

        Raises
        ------
        InvalidInput
            an input of another shape than the group reads.
        """
        self.check(x)
        images = self.group.convolutional
        h = (x.permute(0, 2, 3, 1) if images else x).contiguous()
        plan = self._plan(len(x))
        y = self.run(h, plan.choose(self.density), plan.how)
        return y.permute(0, 3, 1, 2) if images else y

    def check(self, x: Tensor) -> None:
        """Whether the group can read an input of this shape; InvalidInput if not."""
        first = self.group.products[0]
        images = self.group.convolutional
        if x.dim() != (4 if images else 2) or x.shape[1] != first.inputs:
            axes = ", height, width" if images else ""
            raise InvalidInput(
                f"{first.name}: got {list(x.shape)}, it reads [batch, {first.inputs}{axes}]; "
                "reshape the input"
            )
        if images:
            batch, _, height, width = x.shape
            shape = torch.Size((batch, height, width, first.inputs))
            self._geometry(shape, 0, len(self.group.products))

    @property
    def always_dense(self) -> bool:
        """Whether there is no sparse way: convolutions without compiled kernels."""
        return self.packed is None and self.group.convolutional

    def _plan(self, batch: int) -> Plan:
        """The plan for a batch size; kept, since finding it takes longer than a short call."""
        found = self._plans.get(batch)
        if found is None:
            found = self._plans[batch] = nearest(self.plans, batch)
        return found

    @property
    def plans(self) -> tuple[Plan, ...]:
        """What was measured, one plan for each batch size."""
        return self._measured

    @plans.setter
    def plans(self, plans: tuple[Plan, ...]) -> None:
        self._measured = plans
        self._plans: dict[int, Plan] = {}

    def run(self, h: Tensor, chosen: NDArray[np.uint8], how: How) -> Tensor:
        """From contiguous x to phi of the last h, with these choices; [batch, ..., channels]."""
        self._calls += 1
        key = chosen.tobytes()
        found = self._stretches.get(key)
        if found is None:
            found = self._stretches[key] = stretches(chosen)
        density = self.density.copy()
        depth, raw = len(chosen), False
        for by_torch, first, last in found:
            raw = by_torch or self.packed is None
            if by_torch:
                h = self.by_torch(h, first, last, density)
            elif self.packed is None:
                h = self.by_gathering(h, first, last, density)
            else:
                h = self.by_kernels(h, first, last, chosen, how, density, raw=last < depth)
        self.density = density
        return self.group.products[-1].phi(h) if raw else h

    def by_kernels(
        self,
        h: Tensor,
        first: int,
        last: int,
        chosen: NDArray[np.uint8],
        how: How,
        density: NDArray[np.float64],
        *,
        raw: bool,
    ) -> Tensor:
        """Products [first, last) in one call; notes the densities of what they read."""
        assert self.packed is not None
        values, out_size = self._geometry(h.shape, first, last)
        active = np.zeros(len(chosen), np.int64)
        out = self.packed.run(
            h.contiguous(),
            (first, last),
            out_size,
            raw=raw,
            threads=1 if how == "alone" else torch.get_num_threads(),
            together=how == "together",
            rows=(chosen == ROWS).view(np.uint8),
            active=active,
        )
        if len(h):
            density[first:last] = active[first:last] / (values * len(h))
        return out

    def by_torch(self, h: Tensor, first: int, last: int, density: NDArray[np.float64]) -> Tensor:
        """Products [first, last) by PyTorch."""
        looking = self._calls % _LOOK_EVERY == 1 and len(h) > 0
        for index in range(first, last):
            y = self.group.products[index - 1].phi(h) if index else h
            if looking:
                density[index] = _density(y)
            h = self.group.products[index].dense(h if index else None, y)
        return h

    def by_gathering(
        self, h: Tensor, first: int, last: int, density: NDArray[np.float64]
    ) -> Tensor:
        """Fully connected products [first, last) by ``F.embedding_bag``."""
        for index in range(first, last):
            product = self.group.products[index]
            y = self.group.products[index - 1].phi(h) if index else h
            density[index] = _density(y)
            update = gather(y, self._table(index), product.bias)
            h = product.joined(h if index else None, update)
        return h

    def _table(self, index: int) -> Tensor:
        """W^T of a product."""
        if index not in self._tables:
            self._tables[index] = self.group.products[index].weight.t().contiguous()
        return self._tables[index]

    def _geometry(
        self, shape: torch.Size, first: int, last: int
    ) -> tuple[NDArray[np.int64], tuple[int, int]]:
        """How many values a sample has before each of the products, and the last one's image."""
        key = (shape[1:], first, last)
        if key not in self._geometries:
            size = (int(shape[1]), int(shape[2])) if self.group.convolutional else (1, 1)
            values = []
            for product in self.group.products[first:last]:
                values.append(size[0] * size[1] * product.inputs)
                before, size = size, product.window.after(size) if product.window else size
                if product.skip and not product.keeps_size and size == before:
                    raise InvalidInput(
                        f"{product.name}: a strided layer with a skip over an image of {size}; "
                        "give a larger image"
                    )
            self._geometries[key] = np.array(values), size
        return self._geometries[key]


def _density(y: Tensor) -> float:
    some = y[:_LOOK_AT]
    return int(torch.count_nonzero(some)) / max(1, some.numel())
