"""How much sooner does training on lists come to the same accuracy, and at what memory and energy?

MNIST, width 300, skip 0.9, s = 0.9, q = 4, clip 1.1, Adam; three seeds, each dense and on lists in
turn and in alternating order, each run in a process of its own on two threads. A run that is
finished is not made again, and one that was interrupted goes on. The machine should do nothing else
meanwhile. MNIST is found as everywhere: SPARSEFIELD_DATA, or the hub.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from timing import record

ENGINES = ("dense", "sparse")
SEEDS = (0, 1, 2)
FIXED = {
    **{"data": "mnist", "width": 300, "skip": 0.9, "sparsity": 0.9, "q": 4.0, "clip": 1.1},
    **{"optimizer": "adam", "batch": 128, "threads": 2, "device": "cpu"},
}
COUNTED = 1024  # test images that the ledger counts on


def one_run(out: Path, config: dict[str, Any]) -> None:
    """Make a run, and write what only its own process can tell beside it."""
    from sparsefield.data import load
    from sparsefield.train import TrainConfig, train

    load(str(config["data"]))
    with_data = peak_bytes()
    result = train(TrainConfig(**config), out=out, resume=True)
    memory = {"peak_bytes": peak_bytes(), "peak_bytes_of_loading": with_data}
    row = {**config, **told(out, result), **memory}
    (out / "row.json").write_text(json.dumps(row, indent=1) + "\n")


def peak_bytes() -> int:
    """Most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says is no less than what the parent held
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def told(out: Path, result: Any) -> dict[str, Any]:
    """The end of a run, its curve, and what the ledger counts for it."""
    from sparsefield.train import read_run

    metrics = read_run(out).metrics
    return {
        "test_accuracy": result.test_accuracy,
        "train_loss": result.train_loss,
        "zeros_init": mean(result.sparsity_init),
        "zeros_end": result.sparsity_mean,
        "seconds": result.seconds,
        "steps_made": result.steps,
        "ran": result.engine,
        "curve": {name: metrics[name].tolist() for name in ("step", "loss", "seconds")},
        "ledger": ledger_of(out, result.steps),
    }


def ledger_of(out: Path, steps: int) -> dict[str, Any]:
    """Operations, bytes and modelled joules of all steps, counted on the network at its end."""
    from sparsefield.energy import ledger
    from sparsefield.train import load_config, load_model
    from sparsefield.train.network import held_out_inputs

    config, model = load_config(out / "config.yaml"), load_model(out)
    x = held_out_inputs(out, model)[:COUNTED]
    column = ledger(model, x, batch=config.batch, optimizer="adam").training
    samples = steps * config.batch
    return {
        name: {
            "operations": step.operations * samples,
            "bytes": (step.weight_bytes + step.activation_bytes) * samples,
            "modelled_joules": step.picojoules * 1e-12 * samples,
        }
        for name, step in (("dense", column.dense), ("sparse", column.lists))
    }


def order(depths: list[int], seeds: list[int]) -> Iterator[tuple[int, int, str]]:
    """Pairs, the other engine first each time."""
    for depth in depths:
        for turn, seed in enumerate(seeds):
            for engine in ENGINES if turn % 2 == 0 else reversed(ENGINES):
                yield depth, seed, engine


def made(runs: Path, depth: int, seed: int, engine: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The row of a run, in a process of its own if it is not there yet."""
    out = runs / f"depth{depth}-seed{seed}-{engine}"
    if not (out / "row.json").exists():
        config = {**FIXED, "depth": depth, "seed": seed, "engine": engine, **changes}
        command = [sys.executable, __file__, "--one", str(out), json.dumps(config)]
        subprocess.run(command, check=True)
    row: dict[str, Any] = json.loads((out / "row.json").read_text())
    return row


def compared(rows: list[dict[str, Any]], depth: int) -> dict[str, Any]:
    """The pairs of one depth: means, spread, and ratios dense to sparse."""
    by = {e: [row for row in rows if (row["depth"], row["engine"]) == (depth, e)] for e in ENGINES}
    summary: dict[str, Any] = {"depth": depth, "pairs": len(by["dense"])}
    for engine, its in by.items():
        accuracy = [row["test_accuracy"] for row in its]
        summary[engine] = {
            "test_accuracy": mean(accuracy),
            "test_accuracy_std": stdev(accuracy) if len(accuracy) > 1 else None,
            **{key: mean(row[key] for row in its) for key in ("seconds", "zeros_end")},
            "peak_bytes": max(row["peak_bytes"] for row in its),
            "modelled_joules": mean(row["ledger"][engine]["modelled_joules"] for row in its),
        }
    pairs = list(zip(by["dense"], by["sparse"], strict=True))
    summary["time_ratios"] = [dense["seconds"] / lists["seconds"] for dense, lists in pairs]
    return summary


def draw(rows: list[dict[str, Any]], depths: list[int], path: Path) -> None:
    """Training loss against minutes, both engines in one picture, a panel for each depth."""
    from matplotlib.figure import Figure

    from sparsefield.pictures.saving import save_figure

    figure = Figure(figsize=(4.2 * len(depths), 3.2), layout="constrained")
    panels = figure.subplots(1, len(depths), squeeze=False)[0]
    for panel, depth in zip(panels, depths, strict=True):
        for engine, colour in zip(ENGINES, ("tab:grey", "tab:red"), strict=True):
            its = [row["curve"] for row in rows if (row["depth"], row["engine"]) == (depth, engine)]
            for index, curve in enumerate(its):
                minutes = [seconds / 60 for seconds in curve["seconds"]]
                label = {"dense": "dense", "sparse": "on lists"}[engine] if index == 0 else None
                panel.plot(minutes, curve["loss"], color=colour, lw=0.8, label=label)
        panel.set(title=f"depth {depth}", xlabel="minutes", ylabel="training loss", yscale="log")
        panel.legend()
    save_figure(figure, path)


def main() -> None:
    """Make the runs that are left, then the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/time_to_accuracy"))
    parser.add_argument(
        "--out", type=Path, default=Path("results/benchmarks/time_to_accuracy.json")
    )
    parser.add_argument("--depths", nargs="*", type=int, default=[30, 100])
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--steps", type=int, help="end every run early, to try this out")
    parser.add_argument("--one", nargs=2, metavar=("OUT", "CONFIG"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one_run(Path(given.one[0]), json.loads(given.one[1]))
        return
    changes = {"steps": given.steps} if given.steps else {}
    rows = [made(given.runs, *each, changes) for each in order(given.depths, given.seeds)]
    draw(rows, given.depths, given.out.with_suffix(".svg"))
    summaries = [compared(rows, depth) for depth in given.depths]
    question = "Training on lists against dense: the same accuracy sooner? MNIST, 2 threads"
    record(given.out, question, [*summaries, *rows])


if __name__ == "__main__":
    main()
