"""What did the recorded runs reach? Writes README.md beside them: mean, sd and n by arm."""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

from sparsefield.train import Run, read_run

ARM = ("data", "network", "family", "depth", "width", "sparsity", "q", "skip", "init")
HEAD = """# Recorded runs

Written by `python benchmarks/recorded_runs.py {folder}`. Each folder here is one run: its
`config.yaml` repeats it (`sparsefield train config.yaml --out DIR`), `result.json` has the versions
and the hardware. Accuracy is on the whole test set, in per cent: mean +- standard deviation over
seeds. Sparsity is the mean over layers, measured on the test set. Seconds were taken beside other
work on the same two cores. CIFAR-10 is the JPEG copy, whose pixels differ a little from the
original. A version "not installed" means: run from the source tree.

"""


def spread(values: list[float], digits: int = 2) -> str:
    """Mean and standard deviation as text."""
    text = f"{statistics.mean(values):.{digits}f}"
    return f"{text} +- {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def line(runs: list[Run]) -> str:
    """One arm as a row of the table."""
    config, results = runs[0].config, [run.result for run in runs]
    clip = f"{config.clip:g}" if config.clip else "none"
    settings = f"{config.optimizer}, rate {config.lr:g}, batch {config.batch}"
    cells = [
        *(str(getattr(config, name)) for name in ARM),
        clip,
        str(config.epochs),
        settings,
        str(len(runs)),
        spread([100 * r.test_accuracy for r in results]),
        f"{100 * min(r.test_accuracy for r in results):.2f}",
        str(sum(r.failed for r in results)),
        spread([statistics.mean(r.sparsity_init) for r in results], 3),
        spread([r.sparsity_mean for r in results], 3),
        spread([r.seconds for r in results], 0),
    ]
    return f"| {' | '.join(cells)} |"


def table(runs: list[Run]) -> str:
    """All arms, one row each, with a line on the hardware and versions."""
    arms = defaultdict(list)
    for run in runs:
        arms[run.config.model_copy(update={"seed": 0}).model_dump_json()].append(run)
    head = [*ARM, "clip", "epochs", "optimiser", "n", "accuracy", "worst", "failed"]
    head += ["sparsity at init", "sparsity at end", "seconds"]
    rows = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    rows += sorted(line(arm) for arm in arms.values())
    made_on = sorted({f"{r.result.hardware}, {r.result.versions}" for r in runs})
    return "\n".join([*rows, "", "Made on:", "", *(f"- {text}" for text in made_on)])


def main() -> None:
    """Read the runs below a folder and write its README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    runs = [read_run(path.parent) for path in sorted(folder.glob("*/result.json"))]
    text = HEAD.format(folder=folder) + table(runs) + "\n"
    (folder / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
