"""Where the arithmetic runs: in this process alone, or in several under torchrun by way of Fabric.

One process does without Fabric: its import takes as long as PyTorch's, and it is an extra.
"""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput, require
from sparsefield.train.config import TrainConfig

T = TypeVar("T")
Runtime: TypeAlias = "Single | Any"  # Any: a lightning_fabric.Fabric, which has the same names


class Single:
    """One process alone, by the names of Fabric: every exchange gives back what it is given."""

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def setup_module(self, module: nn.Module) -> nn.Module:
        return module

    def backward(self, tensor: Tensor) -> None:
        tensor.backward()

    def all_reduce(self, data: Tensor, *, reduce_op: str = "mean") -> Tensor:
        return data

    def broadcast(self, obj: T) -> T:
        return obj


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """The config's ``precision`` on a device, for the forward passes inside."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def start_runtime(config: TrainConfig) -> Runtime:
    """Fabric when torchrun started several processes (``WORLD_SIZE``), else this one alone.

    Raises
    ------
    InvalidInput
        No such device, or a batch that the processes cannot share evenly.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    kind = _device_kind(config.device)
    if config.batch % world:
        raise InvalidInput(
            f"batch={config.batch} over {world} processes: every process takes an equal share of "
            f"the batch; give a multiple of {world}"
        )
    return Single(torch.device(kind)) if world == 1 else _fabric(kind, world)


def from_main(runtime: Runtime, action: Callable[[], T]) -> T:
    """Do ``action`` in the first process; every process gets its value, or raises its error."""
    outcome: tuple[Any, str | None] = (None, None)
    failed: Exception | None = None
    if runtime.is_global_zero:
        try:
            outcome = (action(), None)
        except Exception as error:
            failed = error
            outcome = (None, str(error) or type(error).__name__)
    value, problem = runtime.broadcast(outcome)  # an error too: nobody is left waiting
    if failed is not None:
        raise failed
    if problem is not None:
        raise InvalidInput(problem)
    result: T = value
    return result


def main_first(runtime: Runtime, action: Callable[[], T]) -> T:
    """Do ``action`` in the first process, then in the others: what it caches is made once."""
    made: list[T] = []
    from_main(runtime, lambda: made.append(action()))
    return made[0] if made else action()


def _device_kind(device: str) -> str:
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InvalidInput("device=cuda: PyTorch sees no GPU here; choose device cpu or auto")
    return "cuda" if available and device != "cpu" else "cpu"


def _fabric(kind: str, world: int) -> Runtime:
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    fabric = require("lightning_fabric", "distributed").Fabric(
        accelerator=kind, devices=local, num_nodes=world // local, strategy="ddp"
    )
    fabric.launch()
    atexit.register(_leave)
    return fabric


def _leave() -> None:
    """Leave the process group before the interpreter is taken down.

    Gloo's threads may still hold Python objects of the last exchange; dropping them during the
    interpreter's finalisation aborts the process (seen about once in ten runs).
    """
    gc.collect()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
