"""Which runs can train together: those that differ in numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsefield.train.config import TrainConfig

# What members of a group share: the data, the shape of the network and of its step, and when it is
# looked at. Everything else is a number that each member has for itself.
SHARED = (
    *("data", "normalise", "network", "depth", "width", "family", "batch", "epochs", "steps"),
    *("optimizer", "monitor_every", "log_every", "checkpoint_every", "device", "threads"),
    *("precision", "padding", "strides", "pool"),
)


def groups(configs: Sequence[TrainConfig]) -> list[list[int]]:
    """Put together the runs that can train together, as indices into ``configs``.

    Runs with a skip and runs without are apart, since the first do more work a step. A
    convolutional network and bf16 train alone; see :func:`batchable`.

    >>> runs = [TrainConfig(), TrainConfig(lr=1e-3), TrainConfig(depth=5), TrainConfig(seed=1)]
    >>> groups(runs)
    [[0, 1, 3], [2]]
    """
    found: dict[Any, list[int]] = {}
    for index, config in enumerate(configs):
        key = representative(config) if batchable(config) else index
        found.setdefault(key, []).append(index)
    return list(found.values())


def batchable(config: TrainConfig) -> bool:
    """Whether this kind of run can be a member of a group: fully connected, in float32."""
    return config.network == "dnn" and config.precision == "fp32"


def representative(config: TrainConfig) -> TrainConfig:
    """The same config for all runs that can train together: what they share, defaults elsewhere."""
    shared = {name: getattr(config, name) for name in SHARED}
    return TrainConfig(**shared, skip=0.5 if config.skip else 0.0)


def parted(configs: Sequence[TrainConfig]) -> str | None:
    """Why these runs cannot train together, or None: the first field that keeps two apart."""
    first = configs[0]
    for config in configs:
        if not batchable(config):
            return f"network={config.network}, precision={config.precision}"
        for name in SHARED:
            if getattr(config, name) != getattr(first, name):
                return f"{name}={getattr(first, name)} and {name}={getattr(config, name)}"
        if (config.skip > 0) != (first.skip > 0):
            return f"skip={first.skip:g} and skip={config.skip:g}"
    return None
