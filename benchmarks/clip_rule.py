"""Does the clip rule (escape below 1 %) name the clip that trains best? MNIST, narrow and deep.

One rate would favour one clip, so every clip is trained at each of the rates; all are recorded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from training_arms import study, table

CLIPS = (0.25, 0.5, 0.75, "auto", 1.25, 1.5, 2.0, 3.0)
RATES = (3e-4, 1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/datasets/mnist")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/studies/clip_rule.json"))
    given = parser.parse_args()
    arms = [
        {"clip": clip, "lr": rate, "seed": seed}
        for seed in range(given.seeds)
        for clip in CLIPS
        for rate in RATES
    ]
    common = {"data": given.data, "width": 100, "depth": 30, "steps": 1500, "sparsity": 0.9}
    study(given.out, __doc__ or "", arms, common)
    print(table(given.out, ("clip", "lr")))


if __name__ == "__main__":
    main()
