"""``sparsefield demo``: five ways to start one sparse deep network, in a few minutes."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path

_EXTRAS = (
    ("sklearn", "data"),
    ("pyarrow", "train"),
    ("matplotlib", "report"),
    ("jinja2", "report"),
)


def demo(out: Path = Path("demo"), json: bool = False) -> None:
    """See a 90 % sparse deep network train because of how it was initialised.

    Parameters
    ----------
    out
        folder of the runs and the report
    json
        print one JSON object and nothing else
    """
    from sparsefield import studies
    from sparsefield import sweep as sweeps
    from sparsefield.errors import require
    from sparsefield.pictures import report

    for module, extra in _EXTRAS:  # before minutes of training, not after
        require(module, extra)
    made = sweeps.sweep(studies.study("demo").parts()["arms"], out=out, progress=not json)
    path = report(out)
    if json:
        print(jsonlib.dumps({"report": str(path)}))
        return
    from rich.console import Console

    from sparsefield.sweep.printing import arm_table, show

    console = Console()
    show(console, arm_table(made))
    console.print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)
