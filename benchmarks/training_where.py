"""Where does a training step on lists win, and where does it lose: density x batch x width?

A chain of six hidden layers in which every unit is active in the same share of the samples, none is
dead: each layer's biases are quantiles of what the batch gives it. SGD, fused with the lists;
beside it the faster of PyTorch's foreach and fused updates, on the same weights.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch
from timing import in_turn, record, row
from torch import Tensor, nn
from training_step import step_of

from sparsefield.engine.training import TrainingEngine
from sparsefield.pictures.bench import draw_crossover
from sparsefield.pictures.plotting import house_style, new_figure
from sparsefield.pictures.saving import save_figure

DEPTH = 6
WIDTHS = (64, 128, 300, 1024)
BATCHES = (8, 32, 128, 512)
DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


def chain(width: int, density: float, x: Tensor) -> nn.Sequential:
    """Layers of which each unit is active in this share of the batch."""
    layers: list[nn.Module] = []
    h = x
    for _ in range(DEPTH):
        layer = nn.Linear(width, width)
        with torch.no_grad():
            nn.init.normal_(layer.weight, std=(2.0 / width) ** 0.5)
            layer.bias.zero_()
            h = layer(h)
            layer.bias.copy_(0.01 - torch.quantile(h, 1.0 - density, dim=0))
            h = torch.relu(h + layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def cell(width: int, batch: int, density: float, repeats: int) -> dict[str, Any]:
    """One step by both."""
    torch.manual_seed(0)
    x, y = torch.randn(batch, width), torch.randint(10, (batch,))
    model = chain(width, density, x)
    engine = TrainingEngine(copy.deepcopy(model))
    rivals = {"lists": step_of(engine, engine.optimizer(torch.optim.SGD, lr=1e-6), x, y)}
    for way in ("foreach", "fused"):
        twin = copy.deepcopy(model)
        sgd = torch.optim.SGD(twin.parameters(), lr=1e-6, **{way: True})
        rivals[f"dense, {way}"] = step_of(twin, sgd, x, y)
    table = row(in_turn(rivals, repeats=repeats), against="lists", width=width)
    dense = min(table[name]["median_s"] for name in rivals if name != "lists")
    ratio = table["lists"]["median_s"] / dense
    return table | {"batch": batch, "density": density, "contender": "lists", "time_ratio": ratio}


@house_style
def draw(rows: list[dict[str, Any]]) -> Any:
    """A panel for each width."""
    widths = sorted({int(r["width"]) for r in rows})
    figure = new_figure(3.6 * len(widths), 3.6)
    for axes, width in zip(figure.subplots(1, len(widths), squeeze=False)[0], widths, strict=True):
        cells = [r for r in rows if r["width"] == width]
        draw_crossover(axes, {"crossover": cells, "crossover_layer": f"layer of {width}"})
        axes.set_title(f"width {width}:\ntimes as fast as dense PyTorch")
    return figure


def main() -> None:
    """Time every cell, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/training_where.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/training-where.svg"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS)
    given = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(given.threads)
    rows = []
    for width in given.widths:
        for batch in BATCHES:
            for density in DENSITIES:
                rows.append(cell(width, batch, density, given.repeats))
                print(json.dumps({k: v for k, v in rows[-1].items() if not isinstance(v, dict)}))
    record(given.out, f"Where training on lists wins, {given.threads} threads", rows)
    save_figure(draw(rows), given.figure)


if __name__ == "__main__":
    main()
