"""Which runs can train together: those that differ in numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsefield.train.config import TrainConfig

# What members of a group share: the data, the shape of the network and of its step, and when it is
# looked at. Everything else is a number that each member has for itself.
SHARED = (
    *("data", "normalise", "validation", "network", "depth", "width", "family", "batch"),
    *(
        "epochs",
        "steps",
        "optimizer",
        "monitor_every",
        "log_every",
        "checkpoint_every",
        "device",
        "threads",
    ),
    *("precision", "padding", "strides", "pool"),
)


def groups(configs: Sequence[TrainConfig]) -> list[list[int]]:
    """Put together the runs that can train together, as indices into ``configs``.

    Runs with a skip and runs without are apart, since the first do more work a step. A
    convolutional network, bf16, top-k, penalties, and factors on the learning rate train alone;
    see :func:`batchable`.

    >>> runs = [TrainConfig(), TrainConfig(lr=1e-3), TrainConfig(depth=5), TrainConfig(seed=1)]
    >>> groups(runs)
    [[0, 1, 3], [2]]
    """
    found: dict[Any, list[int]] = {}
    for index, config in enumerate(configs):
        key = representative(config) if batchable(config) else index
        found.setdefault(key, []).append(index)
    return list(found.values())


# What a member must have: a fully connected network, in float32, of one learning rate; nor may
# its units compete, which is no elementwise activation.
MEMBER = {
    **{"network": "dnn", "precision": "fp32", "penalty": "none"},
    **{"lr_first": 1.0, "lr_bias": 1.0, "lr_head": 1.0},
}


def batchable(config: TrainConfig) -> bool:
    """Whether a run can be a member of a group; see ``MEMBER``, and top-k cannot."""
    return not _alone(config)


def _alone(config: TrainConfig) -> list[str]:
    """The fields that keep a run from every group."""
    names = [name for name, value in MEMBER.items() if getattr(config, name) != value]
    return [*names, "family"] if config.family == "topk" else names


def representative(config: TrainConfig) -> TrainConfig:
    """The same config for all runs that can train together: what they share, defaults elsewhere."""
    shared = {name: getattr(config, name) for name in SHARED}
    return TrainConfig(**shared, skip=0.5 if config.skip else 0.0)


def parted(configs: Sequence[TrainConfig]) -> str | None:
    """Why these runs cannot train together, or None: the first field that keeps two apart."""
    first = configs[0]
    for config in configs:
        if names := _alone(config):
            return ", ".join(f"{name}={getattr(config, name)}" for name in names)
        for name in SHARED:
            if getattr(config, name) != getattr(first, name):
                return f"{name}={getattr(first, name)} and {name}={getattr(config, name)}"
        if (config.skip > 0) != (first.skip > 0):
            return f"skip={first.skip:g} and skip={config.skip:g}"
    return None
