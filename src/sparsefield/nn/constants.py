"""Floats of a module that travel in its state dict, and are no buffers of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Buffer = Tensor | None


class Constants(dict[str, Buffer]):
    """What a module has as its buffers: floats by name, whose memory entries of state dicts share.

    ``torch.func.functional_call`` finds each by its name and puts another in its place for a while.
    None is listed: so nothing casts it, moves it to a device, broadcasts or stacks it.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()  # and holds nothing as a dict
        self._names = tuple(names)
        self._memory = np.full(len(names), np.nan)
        self._own: dict[str, Tensor] = {}
        self._others: dict[str, Tensor] = {}  # that stand in their place

    def floats(self) -> list[float]:
        """What holds now, in the order of the names."""
        found: list[float] = self._memory.tolist()
        for name, other in self._others.items():
            found[self._names.index(name)] = float(other)
        return found

    def put(self, name: str, value: float) -> None:
        """Write one, into every entry that was given out as well."""
        self._memory[self._names.index(name)] = value

    def entry(self, name: str) -> Tensor:
        """A float64 scalar on the CPU: what is written into it takes effect."""
        index = self._names.index(name)
        return torch.from_numpy(self._memory[index : index + 1].reshape(()))

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Tensor:
        if name in self._others:
            return self._others[name]
        return self._own.setdefault(name, self.entry(name))

    def __setitem__(self, name: str, tensor: Buffer) -> None:
        assert tensor is not None
        if tensor is self._own.get(name):  # functional_call is over
            self._others.pop(name, None)
        else:
            self._others[name] = tensor

    def copy(self) -> Constants:
        """Itself: a replica on another device has the same constants."""
        return self
