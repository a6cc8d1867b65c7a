"""How single layers run: as it was measured, or as they were told to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sparsefield.errors import InvalidInput

from .plan import Plan
from .runner import Runner

Choice = Literal["measure", "sparse", "dense"]
Runs = Literal["sparse", "rows", "torch"]
_RUNS: dict[int, Runs] = {0: "sparse", 1: "rows", 2: "torch"}


@dataclass(frozen=True)
class LayerChoice:
    """How one layer runs at one batch size.

    Attributes
    ----------
    name
        in the model.
    batch
        at which it was measured; rows, where a layer reads ``[batch, tokens, features]``.
    crossover
        density of the input above which dense is faster; above 1: never.
    density
        as last seen.
    runs
        ``sparse``, ``rows`` (dense, by the kernels) or ``torch``.
    """

    name: str
    batch: int
    crossover: float
    density: float
    runs: Runs


def choices_of(runner: Runner) -> Iterator[LayerChoice]:
    """How each layer of a chain runs, at each batch size that was measured."""
    for plan in runner.plans:
        for product, crossover, density, chosen in zip(
            runner.chain.products,
            plan.crossover,
            runner.density,
            plan.choose(runner.density),
            strict=True,
        ):
            yield LayerChoice(
                product.name, plan.batch, crossover, float(density), _RUNS[int(chosen)]
            )


def choice_by_name(
    choice: Choice | Mapping[str, Choice], runners: Iterable[Runner]
) -> Mapping[str, Choice]:
    """The choice for each layer that is named, or for all; InvalidInput for what is none."""
    names = {product.name for runner in runners for product in runner.chain.products}
    by_name = choice if isinstance(choice, Mapping) else dict.fromkeys(names, choice)
    for name, value in by_name.items():
        if name not in names:
            raise InvalidInput(f"dispatch {name!r}: no layer of that name; see engine.layers")
        if value not in ("measure", "sparse", "dense"):
            raise InvalidInput(f"dispatch {value!r}: choose measure, sparse or dense")
    return by_name


def force(runner: Runner, by_name: Mapping[str, Choice]) -> None:
    """Make layers run as they are told to; others stay as measured."""
    runner.plans = tuple(_forced(plan, runner, by_name) for plan in runner.plans)


def _forced(plan: Plan, runner: Runner, by_name: Mapping[str, Choice]) -> Plan:
    if runner.always_dense:
        return plan
    never = {"sparse": 2.0, "dense": 0.0}
    crossover = [
        never.get(by_name.get(product.name, "measure"), measured)
        for product, measured in zip(runner.chain.products, plan.crossover, strict=True)
    ]
    return replace(plan, crossover=tuple(crossover))


def span(runner: Runner) -> str:
    """The names of a chain's first and last layer."""
    products = runner.chain.products
    return products[0].name if len(products) == 1 else f"{products[0].name} to {products[-1].name}"


def tally(runner: Runner, plan: Plan) -> str:
    """How many layers of a chain run in which way."""
    chosen = plan.choose(runner.density).tolist()
    names = {0: "sparse", 1: "dense by the kernels", 2: "dense by torch"}
    counts = [f"{chosen.count(way)} {name}" for way, name in names.items() if way in chosen]
    return f"{', '.join(counts)}, threads {plan.how}"
