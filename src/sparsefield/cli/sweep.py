"""``sparsefield sweep``: many runs from one file."""

from __future__ import annotations

import json as jsonlib
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from .making import Making, lost

if TYPE_CHECKING:
    from sparsefield.sweep import Swept

_MAKING = Making()


def sweep(
    file: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    making: Annotated[Making, tyro.conf.OmitArgPrefixes] = _MAKING,
    json: bool = False,
) -> None:
    """Make every run of a sweep file; the same call again goes on where it was.

    Parameters
    ----------
    file
        a YAML file with base, grid, list and seeds
    out
        sweep directory; by default under sweeps/, named after the file
    making
        how its runs are made
    json
        print one JSON object and nothing else
    """
    from sparsefield import sweep as sweeps

    if making.dry_run:
        cost = sweeps.dry_run(file, out=out, **making.cost_keywords)
        print(jsonlib.dumps(cost.to_dict(), allow_nan=False) if json else cost)
        return
    found = sweeps.sweep(file, out=out, **making.keywords, progress=not json)
    if json:
        print(jsonlib.dumps(_finite(_answer(found)), allow_nan=False))
    else:
        _show(found)


def _answer(found: Swept) -> dict[str, Any]:
    return {
        "directory": str(found.directory),
        "without_result": found.without_result,
        "arms": [asdict(arm) for arm in found.arms],
        "runs": list(found.rows),
    }


def _show(found: Swept) -> None:
    from rich.console import Console

    from sparsefield.sweep.printing import arm_table, run_table, show

    console = Console()
    show(console, run_table(found))
    if len(found.arms) < len(found.rows):
        show(console, arm_table(found))
    if found.without_result:
        console.print(lost(found.without_result), highlight=False)
    console.print(f"record: {found.directory}", highlight=False, markup=False, soft_wrap=True)


def _finite(value: Any) -> Any:
    """JSON knows no NaN: null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
