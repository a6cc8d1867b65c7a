"""Which chi_1 trains best: below the edge, on it, at the level typical gradient, or above? MNIST.

At width 100 and clip 0.75 the typical squared gradient over 30 layers is level at chi_1 = 1.21.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from training_arms import study, table

CHI1 = (0.9, 0.95, 1.0, 1.1, "typical", 1.3)
RATES = (3e-4, 1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/datasets/mnist")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/studies/off_edge.json"))
    given = parser.parse_args()
    arms = [
        {"chi1": chi1, "lr": rate, "seed": seed}
        for seed in range(given.seeds)
        for chi1 in CHI1
        for rate in RATES
    ]
    common = {"data": given.data, "width": 100, "depth": 30, "steps": 1500}
    study(given.out, __doc__ or "", arms, common | {"sparsity": 0.9, "clip": 0.75})
    print(table(given.out, ("chi1", "lr")))


if __name__ == "__main__":
    main()
