"""bench(): the whole question for one model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from sparsefield.errors import InvalidInput

from .clock import interleaved
from .contenders import prepare
from .crossover import CONV_BATCHES, DENSITIES, LINEAR_BATCHES, commonest, crossed
from .result import BenchResult, Cell, Row
from .rivals import RIVALS, Rival
from .scores import rows
from .seen import Seen, measured_zeros, products, sources

Progress = Callable[[str], None]
_LAYER_SHARE, _CELL_SHARE = 0.2, 0.1  # of the seconds for a network, in one layer and in one cell
_FEW, _SMALL = 4, 16  # different batches of many samples, and of less than that many


def bench(
    model: nn.Module,
    inputs: Tensor,
    *,
    subject: str,
    batches: Sequence[int] = (1, 128),
    rivals: Sequence[Rival] | None = None,
    seconds: float = 2.0,
    layers: int = 6,
    crossover: bool = True,
    densities: Sequence[float] = DENSITIES,
    sparsity_target: float | None = None,
    described: str = "given inputs",
    hardware: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    progress: Progress = lambda stage: None,
) -> BenchResult:
    """Time every way to run ``model`` side by side, on the number of threads that PyTorch has.

    The clock holds all that a call does: activations, compaction, conversion, products, and the
    way in and out of another runtime. It does not hold making the contender (compilation,
    export, packing), which is listed apart. Every contender's outputs are compared with eager's
    first.

    Parameters
    ----------
    model
        float32, on the CPU; a copy in evaluation mode is used.
    inputs
        [n, ...] samples from which the batches are taken in turn.
    subject
        what to call the model in the result.
    batches
        samples a call.
    rivals
        eager among them; all by default.
    seconds
        for each contender and batch, of the whole network; a layer or cell has a part of it.
    layers
        how many layers to time alone, spread over the depth; 0: none.
    crossover
        whether to time the commonest layer over density x batch.
    densities
        of that.
    sparsity_target, described, hardware, versions
        recorded as they are.
    progress
        is told what comes next.

    Raises
    ------
    InvalidInput
        a batch below 1, no time, no inputs, no eager, or a model or inputs of another kind.
    """
    chosen = tuple(RIVALS.values()) if rivals is None else tuple(rivals)
    _check(model, inputs, batches, chosen, seconds, layers)
    with torch.no_grad():
        frozen = copy.deepcopy(model).eval()
        _check_fit(frozen, inputs)
        run = _Run(frozen, inputs, chosen, seconds, progress)
        zeros = measured_zeros(frozen, run.taken(max(batches)))
        network = tuple(row for batch in batches for row in run.network(batch))
        alone = run.chosen_layers(layers)
        single = tuple(row for product in alone for row in run.layer(product, batches))
        layer, table = run.crossover(densities) if crossover else ("", ())
    return BenchResult(
        subject=subject,
        threads=torch.get_num_threads(),
        hardware=dict(hardware or {}),
        versions={**(versions or {}), **_versions()},
        inputs=described,
        sparsity_target=sparsity_target,
        sparsity=zeros.mean,
        sparsity_by_activation=zeros.by_activation,
        ceiling=zeros.ceiling,
        batches=tuple(batches),
        seconds=seconds,
        rows=network,
        layers=single,
        layer_shapes={product.name: product.shape for product in alone},
        crossover_layer=layer,
        crossover=table,
    )


@dataclass(frozen=True)
class _Run:
    """One model, its inputs and its rivals."""

    model: nn.Module
    inputs: Tensor
    rivals: Sequence[Rival]
    seconds: float
    progress: Progress = field(repr=False)

    def taken(self, batch: int) -> list[Tensor]:
        """Different batches: repeated inputs would leave the rows they need in the cache."""
        count = _FEW if batch >= _SMALL else _SMALL
        turn = torch.arange(count * batch) % len(self.inputs)
        return list(self.inputs[turn].split(batch))

    def network(self, batch: int) -> list[Row]:
        """The whole network at one batch size."""
        self.progress(f"network, batch {batch}")
        batches = self.taken(batch)
        zeros = measured_zeros(self.model, batches).mean
        return self._timed(self.model, batches, of="network", zeros=zeros, share=1.0)

    def chosen_layers(self, count: int) -> list[Seen]:
        """At most ``count`` products, the first and the last among them."""
        if count == 0:
            return []
        found = products(self.model, self.inputs[:1])
        last = len(found) - 1
        return [
            found[index] for index in sorted({last * i // max(count - 1, 1) for i in range(count)})
        ]

    def layer(self, product: Seen, batches: Sequence[int]) -> Iterator[Row]:
        """One layer alone, on the inputs that it has in the network."""
        for batch in batches:
            self.progress(f"layer {product.name}, batch {batch}")
            seen = sources(self.model, self.taken(batch), product.name)
            inputs = [each.source for each in seen]
            zeros = sum(each.zeros for each in seen) / len(seen)
            yield from self._timed(
                product.alone(), inputs, of=product.name, zeros=zeros, share=_LAYER_SHARE
            )

    def crossover(self, densities: Sequence[float]) -> tuple[str, tuple[Cell, ...]]:
        """What the synthetic layer is, and its table; empty where nothing could use zeros."""
        product = commonest(products(self.model, self.inputs[:1]))
        if product is None or all(rival.dense for rival in self.rivals):
            return "", ()
        self.progress(f"density x batch on {product.shape}")
        (seen,) = sources(self.model, [self.inputs[:1]], product.name)
        is_linear = isinstance(product.layer, nn.Linear)
        found = crossed(
            product.layer,
            seen.source.shape[1:],
            self.rivals,
            densities=densities,
            batches=LINEAR_BATCHES if is_linear else CONV_BATCHES,
            seconds=_CELL_SHARE * self.seconds,
        )
        return product.shape, tuple(found)

    def _timed(
        self, model: nn.Module, batches: Sequence[Tensor], *, of: str, zeros: float, share: float
    ) -> list[Row]:
        contenders = prepare(self.rivals, model, batches)
        calls = {c.rival.name: c.call for c in contenders if c.call is not None}
        times = interleaved(calls, batches, seconds=share * self.seconds)
        return rows(contenders, times, of=of, batch=len(batches[0]), zeros=zeros)


def _check(
    model: nn.Module,
    inputs: Tensor,
    batches: Sequence[int],
    rivals: Sequence[Rival],
    seconds: float,
    layers: int,
) -> None:
    if not batches or min(batches) < 1:
        raise InvalidInput(f"batch {list(batches)}: give sizes of at least 1, such as 1,128")
    if not 0.0 < seconds < float("inf"):
        raise InvalidInput(f"seconds {seconds}: must be positive; 2 serve well")
    if layers < 0:
        raise InvalidInput(f"layers {layers}: must be at least 0")
    if not any(rival.name == "eager" for rival in rivals):
        raise InvalidInput("rivals: eager is missing, the reference that every output is held to")
    tensors = [inputs, *model.parameters(), *model.buffers()]
    odd = [t for t in tensors if t.is_floating_point() and t.dtype != torch.float32]
    if odd or any(t.device.type != "cpu" for t in tensors):
        raise InvalidInput("model or inputs: must be float32 on the CPU; use .float().cpu()")
    if len(inputs) == 0:
        raise InvalidInput("inputs: there are none; give [n, ...] samples")


def _check_fit(model: nn.Module, inputs: Tensor) -> None:
    try:
        model(inputs[:1])
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise InvalidInput(
            f"inputs of shape {list(inputs.shape[1:])}: the model cannot read them ({reason}); "
            "give those that it was made for"
        ) from None


def _versions() -> dict[str, str]:
    """Of the rivals that are packages of their own, where installed."""
    found = {}
    for name in ("onnxruntime", "onnx", "openvino"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
