"""A bench's result as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

Rows = list[dict[str, Any]]


def table(result: dict[str, Any]) -> str:
    """The result of :meth:`BenchResult.to_dict` as lines."""
    lines = [*_head(result), *_network(result["rows"])]
    if result["layers"]:
        lines += ["", *_layers(result)]
    if result["crossover"]:
        lines += ["", *_crossover(result)]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Three digits and a unit.

    >>> duration(0.00123), duration(2.5e-5), duration(3.0)
    ('1.23 ms', '25 us', '3 s')
    """
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def losing(cells: Rows) -> dict[tuple[str, int], list[float]]:
    """Densities at which a contender takes longer than the fastest dense one, by (name, batch)."""
    found: dict[tuple[str, int], list[float]] = {}
    for cell in cells:
        if cell["time_ratio"] is not None:
            lost = found.setdefault((cell["contender"], cell["batch"]), [])
            if cell["time_ratio"] > 1.0:
                lost.append(cell["density"])
    return found


def _head(result: dict[str, Any]) -> Iterator[str]:
    target = result["sparsity_target"]
    asked = "" if target is None else f" (target {target:g})"
    yield f"{result['subject']}, {result['inputs']}"
    yield (
        f"{result['threads']} thread(s) for every contender, {result['hardware'].get('cpu', 'CPU')}"
    )
    yield (
        f"zeros {result['sparsity']:.4f}{asked}: 1/(1-s) = {_ideal(result['sparsity'])}; "
        f"dense multiply-adds over those that meet a non-zero: {_ceiling(result['ceiling'])}"
    )


def _network(rows: Rows) -> Iterator[str]:
    for batch, group in groupby(rows, key=lambda row: int(row["batch"])):
        yield ""
        yield (
            f"{f'batch {batch}':<16}{'median':>10}{'quartiles':>22}{'vs best dense':>15}"
            f"{'of 1/(1-s)':>12}{'rounds':>8}{'made in':>9}"
        )
        yield from (_line(row) for row in group)


def _line(row: dict[str, Any]) -> str:
    if row["status"] != "timed":
        return f"  {row['contender']:<14}{row['status']}: {row['reason']}"
    low, high = row["quartiles_s"]
    realised = "" if row["realised"] is None else f"{100 * row['realised']:.0f} %"
    return (
        f"  {row['contender']:<14}{duration(row['median_s']):>10}"
        f"{f'{duration(low)} - {duration(high)}':>22}{_ratio(row['speedup']):>15}"
        f"{realised:>12}{row['n']:>8}{row['prepare_s']:>8.1f}s{_says(row)}"
    )


def _says(row: dict[str, Any]) -> str:
    """What the contender says of itself."""
    if not row["backend"]:
        return ""
    if row["backend"] == "embedding_bag":
        return f"  built without a compiler: embedding_bag, {row['threads']} thread(s)"
    return f"  {row['backend']}, {row['threads']} thread(s)"


def _layers(result: dict[str, Any]) -> Iterator[str]:
    rows = result["layers"]
    sparse = list(dict.fromkeys(row["contender"] for row in rows if not row["dense"]))
    names = {name: f"{name}, {shape}" for name, shape in result["layer_shapes"].items()}
    wide = max(map(len, names.values())) + 4
    for batch in result["batches"]:
        head = "".join(f"{name:>20}" for name in sparse)
        yield f"{f'layers alone, batch {batch}':<{wide}}{'zeros':>6}{'best dense':>25}{head}"
        for name, group in groupby(rows, key=lambda row: str(row["of"])):
            here = [row for row in group if row["batch"] == batch]
            yield f"  {names[name]:<{wide - 2}}{here[0]['zeros']:>6.3f}{_layer(here)}"


def _layer(rows: Rows) -> str:
    """The fastest dense contender of one layer, and each that uses zeros."""
    dense = (row for row in rows if row["dense"] and row["status"] == "timed")
    best = min(dense, key=lambda row: float(row["median_s"]))
    fastest = f"{best['contender']} {duration(best['median_s'])}"
    return f"{fastest:>25}" + "".join(f"{_short(row):>20}" for row in rows if not row["dense"])


def _short(row: dict[str, Any]) -> str:
    if row["status"] != "timed":
        return str(row["status"])
    return f"{duration(row['median_s'])} ({_ratio(row['speedup'])})"


def _crossover(result: dict[str, Any]) -> Iterator[str]:
    cells = result["crossover"]
    densities = sorted({float(cell["density"]) for cell in cells})
    yield f"density x batch on {result['crossover_layer']}: where is dense faster?"
    for (name, batch), lost in losing(cells).items():
        yield f"  {f'{name}, batch {batch}':<26}{_region(lost, densities)}"
    yield from _without_times(cells)


def _region(lost: list[float], densities: list[float]) -> str:
    if not lost:
        return "nowhere"
    if lost == densities:
        return "at every density"
    if lost == densities[-len(lost) :]:
        return f"from density {lost[0]:.3g} on"
    return "at density " + ", ".join(f"{density:.3g}" for density in lost)


def _without_times(cells: Rows) -> Iterable[str]:
    reasons = {
        (cell["contender"], cell["status"], cell["reason"])
        for cell in cells
        if cell["status"] != "timed"
    }
    return (f"  {name}: {status}: {reason}" for name, status, reason in sorted(reasons))


def _ideal(zeros: float) -> str:
    return "endless" if zeros == 1.0 else _ratio(1.0 / (1.0 - zeros))


def _ceiling(value: float | None) -> str:
    return "endless" if value is None else _ratio(value)


def _ratio(value: float) -> str:
    return f"{value:.3g}x"
