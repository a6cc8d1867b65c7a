"""How many points a second does a phase diagram take: closed form against exact quadrature?

Both give sigma_w2, sigma_b2, V' and V'' of CReLU over sparsity x clip (the closed form gives four
quantities more); the quadrature runs over the whole grid as one batch of activations.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from timing import in_turn, out_path, record, row

from sparsefield.theory import gaussian
from sparsefield.theory.closed_form import edge_grid
from sparsefield.theory.families import family_named
from sparsefield.theory.fixed_point_count import count_fixed_points
from sparsefield.theory.piecewise import crelu


def plane(columns: int, rows: int, low: float) -> tuple[np.ndarray, np.ndarray]:
    """Sparsity [1, columns] and clip [rows, 1]."""
    return np.linspace(0.5, 0.99, columns)[None, :], np.linspace(low, 3.0, rows)[:, None]


def quadrature(sparsity: np.ndarray, clip: np.ndarray) -> tuple[np.ndarray, ...]:
    """The edge of chaos by Gauss-Legendre on each piece."""
    phi = crelu(family_named("crelu").threshold(sparsity), clip)
    sigma_w2 = 1.0 / gaussian.gain(phi, 1.0)
    sigma_b2 = 1.0 - sigma_w2 * gaussian.second_moment(phi, 1.0)
    slope = sigma_w2 * gaussian.second_moment_slope(phi, 1.0)
    return sigma_w2, sigma_b2, slope, sigma_w2 * gaussian.second_moment_curvature(phi, 1.0)


def rate(seconds: dict[str, list[float]], points: int) -> dict[str, float]:
    """Points per second of each rival, from its median."""
    return {f"{name}: points_per_s": points / statistics.median(s) for name, s in seconds.items()}


def rivals() -> dict[str, Any]:
    """Both routes on one grid of 20,000 points."""
    s, c = plane(200, 100, 0.02)
    closed, exact = edge_grid("crelu", s, c), quadrature(s, c)
    for name, values in zip(("sigma_w2", "sigma_b2", "slope", "curvature"), exact, strict=True):
        np.testing.assert_allclose(getattr(closed, name), values, rtol=1e-11, atol=1e-12)
    calls = {
        "closed form": lambda: edge_grid("crelu", s, c),
        "quadrature": lambda: quadrature(s, c),
    }
    seconds = in_turn(calls, repeats=11, warm_up=1)
    return row(seconds, against="closed form", grid="200 x 100") | rate(seconds, s.size * c.size)


def large() -> dict[str, Any]:
    """The closed form on a million points; narrow: all of them below a clip of 0.25."""
    s, c = plane(1000, 1000, 0.02)
    calls = {
        "crelu": lambda: edge_grid("crelu", s, c),
        "cst": lambda: edge_grid("cst", s, c),
        "crelu, narrow": lambda: edge_grid("crelu", s, c / 12.1),
    }
    seconds = in_turn(calls, repeats=11, warm_up=1)
    return row(seconds, against="crelu", grid="1000 x 1000") | rate(seconds, s.size * c.size)


def counted() -> dict[str, Any]:
    """The number of fixed points, for the classes of stability."""
    s, c = plane(80, 60, 0.05)
    seconds = in_turn({"count": lambda: count_fixed_points("crelu", s, c)}, repeats=11, warm_up=1)
    return row(seconds, against="count", grid="80 x 60") | rate(seconds, s.size * c.size)


def main() -> None:
    """All three, on one thread (numpy's elementwise loops and scipy's functions use no more)."""
    path = out_path("phase.json")
    record(path, "Points of a phase diagram a second, on one core", [rivals(), large(), counted()])


if __name__ == "__main__":
    main()
