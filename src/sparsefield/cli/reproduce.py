"""``sparsefield reproduce``: a study by its name, from the runs to the page."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from .making import Making, lost

if TYPE_CHECKING:
    from rich.table import Table as Shown

    from sparsefield.studies import Reproduced, Table

_MAKING = Making()


def reproduce(
    name: Annotated[str, tyro.conf.Positional],
    scale: Literal["small", "paper"] = "small",
    data: str | None = None,
    out: Path | None = None,
    making: Annotated[Making, tyro.conf.OmitArgPrefixes] = _MAKING,
    json: bool = False,
) -> None:
    """Run a study of the papers again; the same call again goes on where it was.

    Parameters
    ----------
    name
        of the study; an unknown name lists them
    scale
        small: minutes to an hour on two cores; paper: the sizes of the source
    data
        in place of the study's own; auto: MNIST (for a CNN CIFAR-10) where it is at hand without a
        network, else the embedded digits; what has begun stays on its data
    out
        directory of the sweeps, the record, the page and the figure, for one study at one scale; by
        default studies/NAME-SCALE
    making
        how its runs are made
    json
        print one JSON object and nothing else
    """
    from sparsefield import studies
    from sparsefield.errors import require

    if making.dry_run:
        cost = studies.estimated(name, scale=scale, data=data, out=out, jobs=making.jobs)
        print(jsonlib.dumps(cost.to_dict(), allow_nan=False) if json else cost)
        return
    require("matplotlib", "report")  # before hours of runs, not after
    if not json:
        print("data: " + ", ".join(studies.study(name).data(scale, data)), flush=True)
    found = studies.reproduce(
        name, scale=scale, data=data, out=out, **making.keywords, progress=not json
    )
    _draw(found)
    if json:
        print(jsonlib.dumps(found.to_dict(), allow_nan=False))
    else:
        _show(found)


def _draw(found: Reproduced) -> None:
    from sparsefield.pictures.saving import save_figure
    from sparsefield.pictures.study import draw_study

    save_figure(draw_study(found.study, found.record), found.paths["figure"])


def _show(found: Reproduced) -> None:
    from rich.console import Console

    from sparsefield.studies.page import effects_table
    from sparsefield.studies.tables import table
    from sparsefield.sweep.printing import show

    console = Console()
    for one in (table(found.study, found.record), effects_table(found.effects)):
        show(console, _table(one))
    for line in found.unborne:
        console.print(f"this record does not bear out: {line}", highlight=False, markup=False)
    without = lost(sum(row["steps_made"] is None for row in found.record.rows))
    if without:
        console.print(without, highlight=False)
    for label, path in found.paths.items():
        console.print(f"{label + ':':<8}{path}", highlight=False, markup=False, soft_wrap=True)


def _table(table: Table) -> Shown:
    from rich.box import SIMPLE
    from rich.table import Table as Shown

    shown = Shown(box=SIMPLE, pad_edge=False)
    for name in table.columns:
        shown.add_column(name, justify="right", no_wrap=True)
    for row in table.rows:
        shown.add_row(*row)
    return shown
