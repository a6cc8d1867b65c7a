"""What a bench found: plain rows, as JSON and as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .table import table

QUESTION = "How much faster is each way to run this network than the fastest dense one?"


@dataclass(frozen=True)
class Row:
    """One contender on one network or layer at one batch size.

    Attributes
    ----------
    of
        ``network``, or the name of the layer that was timed alone.
    batch
        samples a call.
    contender
        name of the rival.
    dense
        whether it counts among the dense ones.
    status, reason
        ``timed``, or ``absent`` or ``wrong`` and why.
    backend, threads
        what the contender says of itself.
    prepare_s
        seconds to make it, first call included; not part of the times.
    zeros
        share of exact zeros: in the network the mean over its activations, of a layer in what
        it reads.
    median_s, quartiles_s, n
        seconds a call over ``n`` rounds; None unless timed.
    speedup, speedup_quartiles
        time of the fastest dense contender over this one's, paired by round.
    realised
        speedup over 1 / (1 - zeros); None where zeros is 1.
    """

    of: str
    batch: int
    contender: str
    dense: bool
    status: str
    reason: str
    backend: str
    threads: int
    prepare_s: float
    zeros: float
    median_s: float | None = None
    quartiles_s: tuple[float, float] | None = None
    n: int = 0
    speedup: float | None = None
    speedup_quartiles: tuple[float, float] | None = None
    realised: float | None = None


@dataclass(frozen=True)
class Cell:
    """One contender on a synthetic layer at one density and batch size.

    Attributes
    ----------
    density
        exact share of non-zeros in what the layer reads.
    batch
        samples a call.
    contender, backend
        a contender that uses zeros, and what it says of itself.
    median_s
        its median, seconds a call; None unless timed.
    best_dense, best_dense_s
        the fastest dense contender and its median.
    time_ratio
        time over that of the fastest dense contender, paired by round: above 1 it loses.
    status, reason
        as in :class:`Row`.
    """

    density: float
    batch: int
    contender: str
    backend: str
    median_s: float | None
    best_dense: str
    best_dense_s: float
    time_ratio: float | None
    status: str
    reason: str


@dataclass(frozen=True)
class BenchResult:
    """Everything that one run of the bench found, with what it ran on.

    Attributes
    ----------
    subject
        the shape's name, or the run directory's.
    threads
        of every contender (each row repeats its own).
    hardware, versions
        what it ran on.
    inputs
        what the inputs were.
    sparsity_target
        what the network was solved for, where known.
    sparsity, sparsity_by_activation
        share of exact zeros measured on the inputs of the largest batch.
    ceiling
        dense multiply-adds over those that meet a non-zero; None where none does.
    batches
        samples a call.
    seconds
        asked for per contender and batch.
    rows
        whole network, compaction and conversion inside the clock.
    layers
        single layers timed alone, each after its activation.
    layer_shapes
        by the layer's name.
    crossover_layer
        what the synthetic layer of ``crossover`` is.
    crossover
        density x batch.
    """

    subject: str
    threads: int
    hardware: dict[str, Any]
    versions: dict[str, str]
    inputs: str
    sparsity_target: float | None
    sparsity: float
    sparsity_by_activation: dict[str, float]
    ceiling: float | None
    batches: tuple[int, ...]
    seconds: float
    rows: tuple[Row, ...]
    layers: tuple[Row, ...] = ()
    layer_shapes: dict[str, str] | None = None
    crossover_layer: str = ""
    crossover: tuple[Cell, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, the question first."""
        return {"question": QUESTION, **asdict(self)}

    def __str__(self) -> str:
        return table(self.to_dict())
