"""Does solve() answer within a millisecond?"""

from __future__ import annotations

from timing import in_turn, out_path, record, row

from sparsefield import solve

CASES = {
    "crelu, clip 1": {"family": "crelu", "clip": 1.0},
    "crelu, clip 2 (three fixed points)": {"family": "crelu", "clip": 2.0},
    "crelu, by slope": {"family": "crelu", "slope": 0.7},
    "cst, clip 1": {"family": "cst", "clip": 1.0},
    "shifted relu": {"family": "relu"},
    "soft threshold": {"family": "st"},
}


def main() -> None:
    """Time every case, all in one run."""
    calls = {
        name: lambda case=case: solve(sparsity=0.9, q=4.0, **case) for name, case in CASES.items()
    }
    seconds = in_turn(calls, repeats=101, inner=3)
    table = [row(seconds, against="crelu, clip 1")]
    record(out_path("solve.json"), "seconds of one solve() at s = 0.9", table)


if __name__ == "__main__":
    main()
