"""The fields of a TrainConfig as command-line flags."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import tyro

from sparsefield.train import TrainConfig


def _flag(name: str) -> tuple[str, Any, Any]:
    """One optional flag: None means not given, so that a file's value stands."""
    field = TrainConfig.model_fields[name]
    default = "none" if field.default is None else field.default
    hint = tyro.conf.arg(help=field.description, help_behavior_hint=f"(default: {default})")
    kind = field.annotation
    return name, Annotated[kind | None, hint], dataclasses.field(default=None)  # type: ignore[operator]


Flags = dataclasses.make_dataclass("Flags", [_flag(name) for name in TrainConfig.model_fields])


def given(flags: Any) -> dict[str, Any]:
    """The flags that were set, by field name."""
    values = {name: getattr(flags, name) for name in TrainConfig.model_fields}
    return {name: value for name, value in values.items() if value is not None}
