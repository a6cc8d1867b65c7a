"""The table of a sweep on the terminal."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from sparsefield.sweep.running import Swept
from sparsefield.sweep.table import MEASURED

MOST = 60


def run_table(found: Swept) -> Table:
    """One line a run, the first sixty."""
    more = f" (the first {MOST} of {len(found.rows)})" if len(found.rows) > MOST else ""
    columns = (*found.fields, "seed", "accuracy", "loss", "zeros, start → end", "steps", "")
    table = _table(f"Runs{more}", columns)
    for row in found.rows[:MOST]:
        swept = (_text(row[field]) for field in found.fields)
        table.add_row(*swept, str(row["seed"]), *_measured(row))
    return table


def arm_table(found: Swept) -> Table:
    """One line an arm: means, with their intervals, over the seeds that have a result."""
    columns = (*found.fields, "accuracy, %", "loss", "zeros, start → end, %", "n", "failed")
    table = _table("Mean [95 % interval] over seeds", columns)
    for arm in found.arms:
        accuracy, loss, start, end = (arm.means[name] for name in MEASURED)
        table.add_row(
            *map(_text, arm.values.values()),
            accuracy.show(100),
            loss.show(digits=4),
            f"{100 * start.estimate:.1f} → {end.show(100)}",
            str(accuracy.n),
            f"{arm.failed} of {arm.runs}",
        )
    return table


def show(console: Console, table: Table) -> None:
    """Print the table whole; a narrow terminal wraps its lines."""
    needed = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    console.width = max(console.width, needed)
    console.print(table)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, box=SIMPLE, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _measured(row: dict[str, Any]) -> tuple[str, ...]:
    if row["steps_made"] is None:
        return "-", "-", "-", "-", "NO RESULT"
    return (
        f"{row['test_accuracy']:.2%}",
        f"{row['train_loss']:.4f}",
        f"{row['sparsity_init']:.1%} → {row['sparsity_end']:.1%}",
        str(row["steps_made"]),
        "FAILED" if row["failed"] else "",
    )


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
