"""How often does Q leave [q*/2, 2 q*]: by the operator, by the chain, and by full networks?

CReLU, 90 % zeros, width 300, depth 100, under a growing clip. A full network has explicit weights
and biases; the same matrices serve every clip, so that rows of the table are not independent of
each other (each by itself is an exact sample). Intervals are Clopper and Pearson's, at 95 %.
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from timing import out_path, record

from sparsefield.theory import CriticalPoint, escape_probability, solve
from sparsefield.theory.chain import simulate
from sparsefield.theory.finite_width import binomial_interval, escaped

SPARSITY, WIDTH, DEPTH = 0.9, 300, 100
CLIPS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
DRAWS, NETWORKS = 10_000, 10_000


def full_networks(points: list[CriticalPoint], networks: int) -> list[int]:
    """How many random networks leave the band, by point; the first layer has Q = q* = 1."""
    generator = torch.Generator().manual_seed(2)
    tau, m, w2, b2 = (
        torch.tensor([getattr(p, name) for p in points])
        for name in ("tau", "m", "sigma_w2", "sigma_b2")
    )
    hits = torch.zeros(len(points), dtype=torch.long)
    for _ in range(networks):
        h = torch.randn(WIDTH, 1, generator=generator).expand(WIDTH, len(points))
        out = torch.zeros(len(points), dtype=torch.bool)
        for _ in range(DEPTH - 1):
            active = (h - tau).clamp(min=0.0).minimum(m)
            q = b2 + w2 * (active**2).mean(dim=0)  # of the next layer, given this one
            out |= (q < 0.5) | (q > 2.0)
            weights = torch.randn(WIDTH, WIDTH, generator=generator) / math.sqrt(WIDTH)
            biases = torch.randn(WIDTH, 1, generator=generator)
            h = w2.sqrt() * (weights @ active) + b2.sqrt() * biases
        hits += out
    return hits.tolist()


def counted(hits: int, n: int) -> dict[str, Any]:
    """A share with its interval."""
    return {"hits": hits, "n": n, "share": hits / n, "interval": binomial_interval(hits, n)}


def by_theory(point: CriticalPoint) -> dict[str, Any]:
    """The operator and the chain, each with its time."""
    vmap, start = point.variance_map(), time.perf_counter()
    chance = escape_probability(vmap, point.q, width=WIDTH, depth=DEPTH)
    middle = time.perf_counter()
    path = simulate(vmap, point.q, width=WIDTH, depth=DEPTH, draws=DRAWS, seed=1)
    end = time.perf_counter()
    return {
        "clip": point.clip,
        "operator": {"probability": chance, "seconds": middle - start},
        "chain": counted(int(escaped(path, point.q).sum()), DRAWS) | {"seconds": end - middle},
    }


def z_score(sample: dict[str, Any], chance: float) -> float:
    """Standard errors between a sample and the operator."""
    error = math.sqrt(chance * (1.0 - chance) / sample["n"])
    return float((sample["share"] - chance) / error)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as the documentation shows them."""
    lines = ["| clip | operator | chain | 95 % | full networks | 95 % |", "|" + "---|" * 6]
    for row in rows:
        cells = [f"{row['clip']:g}", f"{row['operator']['probability']:.3g}"]
        for name in ("chain", "networks"):
            low, high = row[name]["interval"]
            cells += [f"{row[name]['share']:.4g}", f"{low:.3g} to {high:.3g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    path = out_path("escape.json")
    points = [solve("crelu", sparsity=SPARSITY, clip=clip) for clip in CLIPS]
    rows = [by_theory(point) for point in points]
    start = time.perf_counter()
    found = full_networks(points, NETWORKS)
    seconds = time.perf_counter() - start
    for row, hits in zip(rows, found, strict=True):
        row["networks"] = counted(hits, NETWORKS) | {"seconds_of_all_clips": seconds}
        for name in ("chain", "networks"):
            row[name]["z_score"] = z_score(row[name], row["operator"]["probability"])
    record(path, (__doc__ or "").splitlines()[0], rows)
    print(table(rows))


if __name__ == "__main__":
    main()
