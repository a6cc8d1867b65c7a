"""Is a sweep of 40 runs, killed five times at random moments and resumed, the same sweep?

Once undisturbed; then again with `kill -9` of the whole process group, each time at a moment drawn
uniformly between the start of the command and a quarter of what the undisturbed sweep took; after
each kill the same command is given again. Every column of the two tables but the seconds is
compared, bit by bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from sparsefield.sweep import place, read_grid, read_table
from sparsefield.sweep.folder import waiting
from sparsefield.train.environment import hardware, versions

KILLS = 5
SWEEP: dict[str, Any] = {
    "base": {
        "data": "digits",
        "depth": 10,
        "width": 50,
        "skip": 0.9,
        "batch": 64,
        "steps": 800,
        "device": "cpu",
        "checkpoint_every": 0.05,
    },
    "grid": {"q": [1, 4], "sparsity": [0.8, 0.9], "lr": [0.0003, 0.001]},
    "seeds": 5,
}


def start(file: Path, out: Path) -> subprocess.Popen[bytes]:
    """The command, in a process group of its own."""
    command = [sys.executable, "-m", "sparsefield", "sweep", str(file), "--out", str(out)]
    flags = ["--jobs", "2", "--json"]
    return subprocess.Popen([*command, *flags], start_new_session=True, stdout=subprocess.DEVNULL)


def state(file: Path, out: Path) -> dict[str, int]:
    """Runs that have ended, and runs that were cut with a checkpoint."""
    grid = read_grid(file)
    left = waiting(out, grid)
    cut = sum((place(out, run) / "checkpoint").exists() for run in left)
    return {"ended": len(grid.runs) - len(left), "cut": cut}


def table(out: Path) -> list[dict[str, Any]]:
    """The rows, less the seconds."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_table(out)]


def killed_and_resumed(file: Path, out: Path, seconds: float, seed: int) -> list[dict[str, Any]]:
    """Kill five times, then let it end; what was found after each kill."""
    moments, kills = random.Random(seed), []
    for _ in range(KILLS):
        process, moment = start(file, out), moments.uniform(0.0, 0.25 * seconds)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            raise SystemExit("the sweep ended before it could be killed; give it more steps")
        kills.append({"after_seconds": round(moment, 3), **state(file, out)})
        print(json.dumps(kills[-1]), flush=True)
    if start(file, out).wait():
        raise SystemExit("the resumed sweep failed")
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--steps", type=int, default=SWEEP["base"]["steps"], help="of a run")
    parser.add_argument("--out", type=Path, default=Path("results/studies/sweep_kill.json"))
    given = parser.parse_args()
    content = {**SWEEP, "base": {**SWEEP["base"], "steps": given.steps}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kill.yaml"
        file.write_text(yaml.safe_dump(content))
        begun = time.monotonic()
        if start(file, Path(folder) / "whole").wait():
            raise SystemExit("the undisturbed sweep failed")
        seconds = time.monotonic() - begun
        print(f"undisturbed: {seconds:.1f} s", flush=True)
        again = Path(folder) / "parts"
        kills = killed_and_resumed(file, again, seconds, given.seed)
        whole, parts = table(Path(folder) / "whole"), table(again)
    report = {
        "question": __doc__,
        "sweep": content,
        "hardware": hardware(),
        "versions": versions(),
        "undisturbed_seconds": round(seconds, 1),
        "kills": kills,
        "runs": len(whole),
        "same_table": whole == parts,
        "rows_that_differ": sum(a != b for a, b in zip(whole, parts, strict=True)),
        "table": parts,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{len(whole)} runs, same table: {whole == parts}; written to {given.out}")
    if whole != parts:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
