"""Named cases that every room's tests share; a new activation is tested by adding one line."""

from __future__ import annotations

from sparsefield.theory import PiecewiseLinear, solve
from sparsefield.theory import piecewise as pw

ACTIVATIONS: dict[str, PiecewiseLinear] = {
    "crelu": pw.crelu(1.3, 1.0),
    "crelu with a negative threshold": pw.crelu(-0.4, 1.5),
    "crelu with a tiny clip": pw.crelu(1.3, 1e-9),
    "crelu with a huge clip": pw.crelu(1.3, 1e9),
    "cst": pw.cst(1.6, 1.2),
    "shifted relu": pw.shifted_relu(1.28),
    "soft threshold": pw.soft_threshold(1.64),
    "relu": pw.relu(),
    "leaky relu": pw.leaky_relu(0.2),
    "hard tanh": pw.hard_tanh(1.0),
    "wide hard tanh": pw.hard_tanh(1e6),
    "tent, not odd": PiecewiseLinear([-1.0, 0.5, 2.0], [0.3, -1.0, 2.0, 0.0], [1.0, -0.5, 2.5]),
}

RUN = {  # trains on digits in a fraction of a second
    "depth": 3,
    "width": 24,
    "sparsity": 0.7,
    "epochs": 2,
    "batch": 64,
    "lr": 0.1,
    "optimizer": "sgd",
    "log_every": 7,
    "monitor_every": 10,
    "threads": 1,
    "device": "cpu",
}

POINTS = {
    "crelu 90%": ("crelu", 0.9, {"clip": 1.0}),
    "crelu 60%": ("crelu", 0.6, {"clip": 1.5}),
    "cst 85%": ("cst", 0.85, {"clip": 0.8}),
    "relu 90%": ("relu", 0.9, {}),
    "st 80%": ("st", 0.8, {}),
}


def point(name: str, q: float = 1.0):
    """The solved critical point of one of ``POINTS``."""
    family, sparsity, clip = POINTS[name]
    return solve(family, sparsity=sparsity, q=q, **clip)
