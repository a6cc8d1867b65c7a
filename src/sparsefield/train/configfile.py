"""A config as a YAML file: read with overrides, written complete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sparsefield.errors import InvalidInput
from sparsefield.train.config import DEFAULT_LR, UNCLIPPED, TrainConfig

_HEIGHTS = {"clip", "m", "slope"}


def load_config(
    path: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> TrainConfig:
    """Read a config from a YAML file and lay ``overrides`` over it.

    Parameters
    ----------
    path
        A YAML mapping of field names to values; None: all defaults.
    overrides
        Fields that replace the file's. One of clip, m and slope replaces whichever of
        the three the file gives.

    Raises
    ------
    InvalidInput
        A file that is missing, no YAML or no mapping; an unknown key; a value
        that breaks a rule.
    """
    values = read_mapping(Path(path)) if path is not None else {}
    try:
        return TrainConfig(**overlaid(values, overrides or {}))
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}" if path is not None else str(error)) from None


def overlaid(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields ``values`` with ``changes`` over them, less what the changes make void."""
    stale = _stale(values, changes)
    return {**{name: value for name, value in values.items() if name not in stale}, **changes}


def _stale(values: Mapping[str, Any], changes: Mapping[str, Any]) -> set[str]:
    """Keys of a file that an override makes void: what was resolved from what it replaces."""
    stale: set[str] = set()
    new_heights = any(changes.get(name) is not None for name in _HEIGHTS)
    if new_heights or changes.get("family") in UNCLIPPED:
        stale |= _HEIGHTS
    if changes.get("penalty") == "none":
        stale.add("penalty_weight")
    if "optimizer" in changes and values.get("lr") in DEFAULT_LR.values():
        stale.add("lr")
    return stale


def dump_config(config: TrainConfig) -> str:
    """The config as YAML, every field written, so that the run can be repeated from it alone."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def differences(one: TrainConfig, other: TrainConfig) -> list[str]:
    """The names of the fields in which two configs differ.

    ``data`` is left out: a folder has many names, and the digest guards what is in it.
    """
    a, b = one.model_dump(exclude={"data"}), other.model_dump(exclude={"data"})
    return [name for name in a if a[name] != b[name]]


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; :class:`InvalidInput` in one line where there is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such file; give the path of a YAML file") from None
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = " ".join(str(error).split())
        raise InvalidInput(f"{path}: not valid YAML ({where}); write `key: value` lines") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InvalidInput(
            f"{path}: holds a {type(content).__name__}, not a mapping of field names; "
            "write `key: value` lines"
        )
    return content
