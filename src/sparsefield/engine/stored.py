"""Whether weights in fewer bits make a batch faster on this machine: that is measured, too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from .dispatch import run_times
from .native import STORED_BYTES, Storage
from .plan import Plan
from .runner import Runner

_FASTER = 0.97  # of float32's time, at most


@dataclass(frozen=True)
class StorageTime:
    """Seconds of a call's kernels with the engine's weights, and with float32 weights."""

    storage: Storage
    batch: int
    seconds: float
    float32_seconds: float

    @property
    def faster(self) -> bool:
        """Whether fewer bits are."""
        return self.seconds <= _FASTER * self.float32_seconds

    def __str__(self) -> str:
        share = STORED_BYTES["float32"] // STORED_BYTES[self.storage]
        return (
            f"storage {self.storage}: no faster than float32 at batch {self.batch} "
            f"({1e3 * self.seconds:.3g} against {1e3 * self.float32_seconds:.3g} ms); "
            f"its weights take 1/{share} of the memory"
        )


class BesideFloat32:
    """Times runners of one storage beside twins that hold float32; nothing where that is float32.

    The twins last as long as this.
    """

    def __init__(self, runners: Iterable[Runner], storage: Storage, threads: int) -> None:
        self.storage = storage
        rounded = () if storage == "float32" else tuple(runners)
        self._twins = {
            id(runner): Runner(runner.chain, "float32", threads, runner.instruction_set)
            for runner in rounded
        }
        self._taken: dict[int, list[tuple[float, float]]] = {}

    def add(self, runner: Runner, x: Tensor, plan: Plan) -> None:
        """Time one chain on its input [batch, ...], both by the same plan."""
        twin = self._twins.get(id(runner))
        if twin is not None:
            stored, float32 = run_times([runner, twin], x, plan, runner.density)
            self._taken.setdefault(plan.batch, []).append((stored, float32))

    def times(self) -> tuple[StorageTime, ...]:
        """Of all chains together, by batch."""
        return tuple(
            StorageTime(self.storage, batch, sum(s for s, _ in taken), sum(f for _, f in taken))
            for batch, taken in self._taken.items()
        )
