"""What sparsify_ did to a model: promised, measured, and what it cannot vouch for."""

from __future__ import annotations

from dataclasses import dataclass

_HEAD = ("part", "is", "was", "q promised", "zeros", "q measured", "zeros", "cannot vouch for")


@dataclass(frozen=True)
class SparsifyRow:
    """One layer, norm, activation, or part that was left as it is.

    Attributes
    ----------
    name
        path of the part in the model; ``relu#2`` is the second call of ``relu``.
    kind
        its class.
    done
        what was done: ``theory``, ``gain from the sample``, ``gamma``, ``for ReLU``, ``kept``,
        ``left``.
    promised_q, promised_zeros
        what theory promises of this network at initialisation, in expectation over its weights:
        mean square of what a layer or norm puts out or an activation reads, and the share of exact
        zeros of an activation. None where it promises nothing.
    q, zeros
        the same, measured on the sample; None where nothing was.
    unvouched
        what theory does not cover here, and why; empty where it covers all.
    """

    name: str
    kind: str
    done: str
    promised_q: float | None = None
    promised_zeros: float | None = None
    q: float | None = None
    zeros: float | None = None
    unvouched: str = ""


@dataclass(frozen=True)
class SparsifyTable:
    """What :func:`sparsify_` did, in the order in which the model runs; prints as a table."""

    rows: tuple[SparsifyRow, ...]

    def __getitem__(self, name: str) -> SparsifyRow:
        """The row of a part, by its name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def activations(self) -> tuple[SparsifyRow, ...]:
        """The rows whose zeros were measured."""
        return tuple(row for row in self.rows if row.zeros is not None)

    def __str__(self) -> str:
        lines = [_HEAD, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )


def _cells(row: SparsifyRow) -> tuple[str, ...]:
    return (
        row.name or "(itself)",
        row.kind,
        row.done,
        _number(row.promised_q),
        _share(row.promised_zeros),
        _number(row.q),
        _share(row.zeros),
        row.unvouched,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
