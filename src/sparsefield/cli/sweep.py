"""``sparsefield sweep``: many runs from one file."""

from __future__ import annotations

import json as jsonlib
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from sparsefield.experiments.sweep import Swept


def sweep(
    file: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    jobs: int | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    together: Literal["auto", "never"] = "auto",
    retry_failed: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Make every run of a sweep file; the same call again goes on where it was.

    Parameters
    ----------
    file
        a YAML file with base, grid, list and seeds
    out
        sweep directory; by default under sweeps/, named after the file
    jobs
        workers; by default as many as have their threads' cores to themselves
    engine
        processes of this machine, or tasks of a Ray cluster
    address
        of the Ray cluster; by default one of this machine alone
    together
        auto: runs that differ in numbers only train as one network where that is faster (local);
        never: each alone; what is settled when a run begins stays so when the sweep is resumed
    retry_failed
        try the runs again that ended without a result
    dry_run
        say what it would cost, from a few measured steps, and make nothing
    json
        print one JSON object and nothing else
    """
    from sparsefield.experiments import sweep as sweeps

    if dry_run:
        cost = sweeps.dry_run(file, out=out, jobs=jobs, together=together)
        print(jsonlib.dumps(cost.to_dict(), allow_nan=False) if json else cost)
        return
    found = sweeps.sweep(
        file,
        out=out,
        jobs=jobs,
        engine=engine,
        address=address,
        together=together,
        retry_failed=retry_failed,
        progress=not json,
    )
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

    from sparsefield.experiments.sweep.printing import arm_table, run_table, show

    console = Console()
    show(console, run_table(found))
    if len(found.arms) < len(found.rows):
        show(console, arm_table(found))
    if found.without_result:
        lost = f"{found.without_result} runs have no result: see failed.json in their directories"
        console.print(f"{lost}; --retry-failed tries them again", highlight=False)
    console.print(f"record: {found.directory}", highlight=False, markup=False, soft_wrap=True)


def _finite(value: Any) -> Any:
    """JSON knows no NaN: null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
