"""Names of runs: from what sets a run apart, so that adding runs renames none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

_LONGEST = 100
_FOREIGN = re.compile(r"[^A-Za-z0-9._+-]")


def run_name(values: Mapping[str, Any], seed: int) -> str:
    """A folder name from the swept fields, in their order, and the seed.

    What a file name cannot hold is replaced; eight digits of a hash of the values then keep the
    names apart.

    >>> run_name({"q": 4.0, "clip": "auto"}, 1)
    'q4-clipauto-seed1'
    >>> run_name({"data": "../mnist"}, 0)
    'data.._mnist-f127fd13-seed0'
    """
    words = "-".join(field + _word(value) for field, value in values.items())
    name = _FOREIGN.sub("_", words)
    if name != words or len(name) > _LONGEST:
        text = json.dumps(dict(values), sort_keys=True)
        name = f"{name[:_LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return f"{name}-seed{seed}" if name else f"seed{seed}"


def _word(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, list | tuple):
        return "+".join(map(_word, value)) or "none"
    return str(value)
