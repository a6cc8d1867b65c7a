"""What is a step on lists worth on networks that have learnt, beside leaving out dead units?

MNIST, width 300, s = 0.9, q = 4, clip 1.1: with the skip after two epochs of Adam; without it after
two epochs of SGD, when most of its zeros are dead. A unit is dead if it fires for none of 10,000
held-out images. The rival that leaves those out is a dense network of what is left: a dead unit's
column goes, and without the skip its row too; outputs are the same. Batch 128 of those images;
denormals are flushed for all. The machine should do nothing else meanwhile. MNIST is found as
everywhere: SPARSEFIELD_DATA, or the hub.
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
from training_step import RULES, Step, step_of

from sparsefield import DNN
from sparsefield.engine.training import TrainingEngine
from sparsefield.nn.networks import carry
from sparsefield.train import TrainConfig, load_model, train
from sparsefield.train.network import held_out_inputs
from sparsefield.watch import Watch, activation_modules

FIXED = {
    **{"data": "mnist", "width": 300, "sparsity": 0.9, "q": 4.0, "clip": 1.1, "epochs": 2},
    **{"batch": 128, "engine": "sparse", "threads": 2, "device": "cpu", "monitor_every": 0},
}
PLAIN = {"optimizer": "sgd", "lr": 1e-4, "momentum": 0.0, "schedule": "constant", "warmup": 0.0}
NETWORKS: dict[str, dict[str, Any]] = {
    "100 x 300, skip 0.9": {"depth": 100, "skip": 0.9, "optimizer": "adam"},
    "30 x 300, skip 0.9": {"depth": 30, "skip": 0.9, "optimizer": "adam"},
    "100 x 300": {"depth": 100, **PLAIN},
}


class Living(nn.Module):
    """A DNN without the units that are dead, the same function of every image they are dead for."""

    def __init__(self, model: DNN, alive: list[Tensor]) -> None:
        super().__init__()
        self.skip, self.activations = model.skip, model.activations
        self.kept = [units.nonzero()[:, 0] for units in alive]
        rows = [None if model.skip else kept for kept in self.kept] + [None]
        columns = [None, *self.kept]
        layers = [*model.layers, model.head]
        made = [part(*each) for each in zip(layers, rows, columns, strict=True)]
        self.layers, self.head = nn.ModuleList(made[:-1]), made[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Logits [batch, classes]."""
        h = self.layers[0](x.flatten(1))
        for index, layer in enumerate(self.layers[1:]):
            h = carry(h, layer(self.read(index, h)), self.skip)
        logits: Tensor = self.head(self.read(-1, h))
        return logits

    def read(self, index: int, h: Tensor) -> Tensor:
        """Activations of the units that are kept, of which alone a plain network consists."""
        units = h[:, self.kept[index]] if self.skip else h
        found: Tensor = self.activations[index](units)
        return found


def part(layer: nn.Linear, rows: Tensor | None, columns: Tensor | None) -> nn.Linear:
    """A layer of these outputs and inputs alone."""
    weight, bias = layer.weight.detach(), layer.bias.detach()
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    if columns is not None:
        weight = weight[:, columns]
    found = nn.Linear(weight.shape[1], weight.shape[0])
    found.weight, found.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
    return found


@torch.no_grad()
def outputs(model: DNN, x: Tensor) -> list[Tensor]:
    """Of every activation, [images, units]."""
    found: list[Tensor] = []
    with Watch(model, activation_modules(model)).passes(lambda call: found.append(call.output)):
        model(x)
    return found


def rivals(model: DNN, alive: list[Tensor], rule: str, x: Tensor, y: Tensor) -> dict[str, Step]:
    """The same step on lists, dense, and dense without the dead units."""
    kind, rate = RULES[rule]
    lists = TrainingEngine(copy.deepcopy(model))
    found = {"lists": step_of(lists, lists.optimizer(kind, lr=rate), x, y)}
    for name, twin in (("dense", copy.deepcopy(model)), ("living", Living(model, alive))):
        for way in ("foreach", "fused"):
            trained = copy.deepcopy(twin)
            optimizer = kind(trained.parameters(), lr=rate, **{way: True})
            found[f"{name}, {way}"] = step_of(trained, optimizer, x, y)
    return found


def compared(name: str, runs: Path, repeats: int) -> list[dict[str, Any]]:
    """Train a network if that is not done yet, look at its units, and time its steps."""
    out = runs / name.replace(" ", "").replace(",", "-")
    result = train(TrainConfig(**{**FIXED, **NETWORKS[name]}), out=out, resume=True)
    model = load_model(out)
    assert isinstance(model, DNN)
    images = held_out_inputs(out, model)
    found = outputs(model, images)
    alive = [(units != 0).any(0) for units in found]
    active = torch.cat([(units != 0).float().mean(0) for units in found])
    x, y = images[:128], torch.randint(10, (128,), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(Living(model, alive)(x), model(x), rtol=1e-3, atol=1e-3)
    labels = {
        "network": name,
        "test_accuracy": result.test_accuracy,
        "zeros": 1.0 - active.mean().item(),
        "dead": (active == 0).float().mean().item(),
        "zeros_of_living": 1.0 - active[active > 0].mean().item(),
    }
    return [timed(model, alive, rule, x, y, repeats, labels) for rule in RULES]


def timed(
    model: DNN,
    alive: list[Tensor],
    rule: str,
    x: Tensor,
    y: Tensor,
    repeats: int,
    labels: dict[str, Any],
) -> dict[str, Any]:
    """One optimiser's row: how many times as fast lists are as either rival at its best."""
    seconds = in_turn(rivals(model, alive, rule, x, y), repeats=repeats)
    table = row(seconds, against="lists", optimizer=rule, **labels)
    for name in ("dense", "living"):
        best = min(table[f"{name}, {way}"]["median_s"] for way in ("foreach", "fused"))
        table[f"speedup_over_{name}"] = best / table["lists"]["median_s"]
    return table


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown, for a page."""
    lines = [
        "| network | zeros | dead units | zeros of the living | optimiser | lists, ms | dense |"
        " dense, dead units left out |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        shares = [f"{one[name]:.0%}" for name in ("zeros", "dead", "zeros_of_living")]
        rivals = [f"{one[f'speedup_over_{name}']:.2f}x as long" for name in ("dense", "living")]
        lists = f"{1e3 * one['lists']['median_s']:.1f}"
        cells = [one["network"], *shares, one["optimizer"], lists, *rivals]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Every network and optimiser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/training_living"))
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/training_living.json"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=21)
    given = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(given.threads)
    rows = []
    for name in NETWORKS:
        rows += compared(name, given.runs, given.repeats)
        print(json.dumps(rows[-2:]), flush=True)
    record(given.out, f"A step on networks that have learnt, {given.threads} threads", rows)


if __name__ == "__main__":
    main()
