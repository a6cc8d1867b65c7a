"""The rules between the fields of a config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsefield.train.config import TrainConfig

CLIPPED = ("crelu", "cst")


def check_together(config: TrainConfig) -> None:
    """ValueError, in one line, for fields that do not go together."""
    _check_clip(config)
    _check_topk(config)
    _check_penalty(config)
    _check_hold(config)
    _check_threshold(config)
    _check_norm(config)
    _check_cnn_only(config)


def heights(config: TrainConfig) -> dict[str, Any]:
    """Those of clip, m and slope that are given."""
    given = {"clip": config.clip, "m": config.m, "slope": config.slope}
    return {name: value for name, value in given.items() if value is not None}


def _check_clip(config: TrainConfig) -> None:
    given = heights(config)
    values = " and ".join(f"{name}={_shown(value)}" for name, value in given.items())
    if len(given) > 1:
        raise ValueError(f"{values}: each of them fixes the clip height; give only one of them")
    if given and config.family not in CLIPPED:
        raise ValueError(
            f"{values} with family={config.family}: this family is not clipped; "
            f"leave {next(iter(given))} out, or choose family crelu or cst"
        )


def _check_topk(config: TrainConfig) -> None:
    if config.family == "topk" and config.chi1 != 1.0:
        raise ValueError(
            f"chi1={_shown(config.chi1)} with family=topk: its scale keeps the variance, which "
            "fixes chi1; leave chi1 out"
        )


def _check_penalty(config: TrainConfig) -> None:
    if config.penalty != "none" and config.penalty_weight is None:
        raise ValueError(
            f"penalty={config.penalty} without penalty_weight: how much it counts must be given; "
            "give penalty_weight, 0.1 to begin with"
        )
    if config.penalty == "none" and config.penalty_weight is not None:
        raise ValueError(
            f"penalty_weight={config.penalty_weight:g} with penalty=none: there is nothing to "
            "weigh; leave penalty_weight out, or choose penalty l1 or hoyer"
        )


def _check_hold(config: TrainConfig) -> None:
    if config.hold is None:
        return
    if config.family == "topk":
        raise ValueError(
            f"hold={config.hold:g} with family=topk: its zeros are its own, and always those of "
            "sparsity; leave hold out"
        )
    if config.threshold is not None:
        raise ValueError(
            f"hold={config.hold:g} with threshold={config.threshold:g}: both set the zeros; give "
            "one of them"
        )
    if config.penalty != "none":
        raise ValueError(
            f"hold={config.hold:g} with penalty={config.penalty}: hold brings its own penalty; "
            "give one of them"
        )


def _check_threshold(config: TrainConfig) -> None:
    if config.threshold is not None and (config.family, config.sparsity) != ("relu", 0.5):
        raise ValueError(
            f"threshold={config.threshold:g} with family={config.family}, "
            f"sparsity={config.sparsity:g}: it raises the thresholds of a ReLU network, which is "
            "family relu with sparsity 0.5; choose those, or leave threshold out"
        )


def _check_norm(config: TrainConfig) -> None:
    if config.norm != "none" and (config.network != "cnn" or config.skip > 0.0):
        raise ValueError(
            f"norm={config.norm} with network={config.network}, skip={config.skip:g}: a norm is "
            "for plain convolutions; choose network cnn and skip 0, or leave norm out"
        )


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _check_cnn_only(config: TrainConfig) -> None:
    if config.network != "cnn" and config.strides:
        raise ValueError(
            f"strides={list(config.strides)} with network={config.network}: only convolutions have "
            "strides; leave strides out, or choose network cnn"
        )
    if config.network != "cnn" and config.weights == "delta":
        raise ValueError(
            f"weights=delta with network={config.network}: delta-orthogonal weights are those of a "
            "convolution; choose orthogonal, or network cnn"
        )
    outside = [layer for layer in config.strides if not 0 <= layer < config.depth]
    if outside or len(set(config.strides)) < len(config.strides):
        raise ValueError(
            f"strides={list(config.strides)}: must be different layers between 0 and "
            f"{config.depth - 1} (depth={config.depth}); name each strided layer once"
        )
