"""Is CReLU, forward and backward, as fast as F.hardtanh of the shifted input, in less memory?"""

from __future__ import annotations

import torch
from timing import in_turn, out_path, record, row
from torch import Tensor
from torch.nn import functional as F

from sparsefield.nn import crelu

TAU, M = 1.28, 1.1


def step(function, x: Tensor, grad: Tensor):
    """One forward and backward pass."""
    return lambda: torch.autograd.grad(function(x), x, grad)


def saved_bytes(function, x: Tensor) -> int:
    """Bytes that backward keeps beyond the output, which the next layer keeps anyway."""
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = function(x)
    kept.pop(y.untyped_storage().data_ptr(), None)
    return sum(kept.values())


def main() -> None:
    """Time both over sizes from a small layer to a large one."""
    torch.set_num_threads(1)
    rivals = {
        "hardtanh": lambda x: F.hardtanh(x - TAU, 0.0, M),
        "crelu": lambda x: crelu(x, TAU, M),
    }
    rows = []
    for shape in [(128, 300), (128, 1024), (512, 2048), (16, 64, 32, 32)]:
        x, grad = torch.randn(shape, requires_grad=True), torch.randn(shape)
        passes = {name: step(rival, x, grad) for name, rival in rivals.items()}
        seconds = in_turn(passes, repeats=101, inner=5)
        memory = {f"{name}_saved_bytes": saved_bytes(rival, x) for name, rival in rivals.items()}
        rows.append(row(seconds, against="hardtanh", shape=list(shape), **memory))
    record(out_path("activation.json"), "CReLU against F.hardtanh, forward + backward", rows)


if __name__ == "__main__":
    main()
