"""Does init_ of a 100-layer network cost at most 1.5 times filling the layers by normal_?"""

from __future__ import annotations

import torch
from timing import in_turn, out_path, record, row
from torch import nn

from sparsefield import DNN, init_, solve


def fill(model: nn.Module) -> None:
    """The plain fill: every weight and bias by torch.nn.init.normal_."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.1)
            nn.init.normal_(layer.bias, std=0.1)


def main() -> None:
    """Time both at two widths."""
    torch.set_num_threads(1)
    point = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
    rows = []
    for width in (100, 300):
        model = DNN(784, width, 100, 10, point)
        rivals = {
            "normal_": lambda model=model: fill(model),
            "init_": lambda model=model: init_(model, point),
        }
        seconds = in_turn(rivals, repeats=21)
        rows.append(row(seconds, against="normal_", width=width, depth=100))
    record(out_path("initialise.json"), "init_ against torch.nn.init.normal_", rows)


if __name__ == "__main__":
    main()
