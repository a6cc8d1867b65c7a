"""The ledger of a network: counted, modelled and measured, in three columns kept apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.energy.counted import Counted
from sparsefield.energy.counting import count
from sparsefield.energy.measured import Measured, measure
from sparsefield.energy.meters import Meter, find_meter
from sparsefield.energy.modelled import Modelled, model_energy
from sparsefield.energy.tables import energy_table
from sparsefield.energy.text import ledger_text, training_text
from sparsefield.energy.traffic import Traffic, dense_traffic, sparse_traffic, weight_format
from sparsefield.energy.training import TrainingColumn, training_column
from sparsefield.nn import evaluating


@dataclass(frozen=True)
class Ledger:
    """Where the energy of a network goes.

    Attributes
    ----------
    counted
        exact: zeros, products, dead units.
    dense_traffic, sparse_traffic
        counted too: bytes of an inference for each layer.
    modelled
        counts times a published table; its picojoules are no measurement.
    measured
        one entry for each way to run the network, empty if it was not asked for.
    training
        counted and modelled: a training step at the same batch.
    """

    counted: Counted
    dense_traffic: tuple[Traffic, ...]
    sparse_traffic: tuple[Traffic, ...]
    modelled: Modelled
    measured: tuple[Measured, ...]
    training: TrainingColumn

    def __str__(self) -> str:
        traffic = (self.dense_traffic, self.sparse_traffic)
        book = ledger_text(self.counted, traffic, self.modelled, self.measured)
        return f"{book}\n\n{training_text(self.training)}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        counted = self.counted.to_dict()
        bytes_by_layer = zip(self.dense_traffic, self.sparse_traffic, strict=True)
        for layer, (dense, sparse) in zip(counted["layers"], bytes_by_layer, strict=True):
            layer["bytes_per_inference"] = {"dense": vars(dense), "sparse": vars(sparse)}
        return {
            "counted": counted,
            "modelled": self.modelled.to_dict(),
            "measured": [each.to_dict() for each in self.measured],
            "training": self.training.to_dict(),
        }


def ledger(
    model: nn.Module,
    data: Tensor,
    *,
    batch: int = 1,
    storage: str = "float32",
    arithmetic: str = "float32",
    table: str = "horowitz-45nm",
    activations: Iterable[type[nn.Module]] = (),
    optimizer: str = "adam",
    measured: bool = False,
    runner: Callable[[Tensor], object] | None = None,
    meter: Meter | None = None,
    window_seconds: float = 2.0,
    repeats: int = 5,
) -> Ledger:
    """Count, model and, where this machine has counters, measure the energy of inference.

    Parameters
    ----------
    model
        any module of Linear and convolution layers, on the device of ``data``.
    data
        inputs [samples, ...] for the counts.
    batch
        samples at once; all bytes and energies are those of one of them.
    storage
        how weights are held: float32, bfloat16 or int8 with a scale for each output.
    arithmetic
        number format of products and sums in the modelled column: float32, bfloat16 or int8.
    table
        name in :data:`sparsefield.energy.TABLES`.
    activations
        further types of activation modules, see :func:`sparsefield.energy.count`.
    optimizer
        of the training column: sgd, momentum or adam.
    measured
        read the counters, for (2 repeats + 2) windows each of ``model`` and ``runner``, on the
        first batch.
    runner
        another way to run the network, such as an accelerated one; measured beside the model.
    meter
        counters, by default those that Zeus finds.
    window_seconds, repeats
        see :func:`sparsefield.energy.measure`.

    Raises
    ------
    InvalidInput
        a batch out of range, no data, an unknown format or table, or a model without layers.

    >>> from sparsefield import DNN, solve
    >>> point = solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
    >>> book = ledger(DNN(64, 300, 5, 10, point), torch.randn(32, 64))
    >>> book.modelled.dense.total > 3 * book.modelled.sparse.total
    True
    >>> book.measured
    ()
    """
    stored, prices = weight_format(storage), energy_table(table)
    counted = count(model, data, batch=batch, activations=activations)
    modelled = model_energy(counted, prices, weights=stored, arithmetic=arithmetic)
    runs = {"model": model, "runner": runner} if measured else {}
    meter = meter or (find_meter() if measured else None)
    with torch.no_grad(), evaluating(model):
        figures = tuple(
            measure(
                partial(run, data[:batch]),
                inferences=batch,
                what=what,
                meter=meter,
                window_seconds=window_seconds,
                repeats=repeats,
            )
            for what, run in runs.items()
            if run is not None
        )
    traffic = [(dense_traffic(x, stored), sparse_traffic(x, stored)) for x in counted.layers]
    return Ledger(
        counted=counted,
        dense_traffic=tuple(dense for dense, _ in traffic),
        sparse_traffic=tuple(sparse for _, sparse in traffic),
        modelled=modelled,
        measured=figures,
        training=training_column(counted, prices, optimizer=optimizer),
    )
