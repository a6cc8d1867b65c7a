"""Which nodes of a traced forward go on lists together, and the forward with them replaced."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from .layers import folded, folds
from .nodes import Node, Nothing, Reading, has_zeros, looks_into, reading_of, writes
from .phi import IDENTITY, Phi
from .products import Chain, Product
from .tracing import Trace

# Itself, with a derivative where it is not zero. An input that is zero where an activation is flat
# needs no more: whatever gradient were there, that activation would pass none of it on.
WHERE_ACTIVE = Phi("two_sided")


@dataclass(frozen=True)
class Run:
    """Nodes that follow one another, each reading the one before alone.

    Attributes
    ----------
    nodes
        products, the norms and activations after them, and the activation before them, unless it
        has other readers too.
    chain
        what they are.
    steps
        the same as modules and functions of PyTorch.
    """

    nodes: tuple[Node, ...]
    chain: Chain
    steps: tuple[Callable[[Any], Any], ...]

    @property
    def source(self) -> Node:
        """What it reads."""
        return _read_by(self.nodes[0])


@dataclass(frozen=True)
class Partition:
    """Runs of a trace, and why layers cannot be in one, by name."""

    runs: tuple[Run, ...]
    reasons: dict[str, str]


def partition(trace: Trace, *, training: bool = False) -> Partition:
    """All runs of a trace, as long as can be; in training, of layers that read an activation.

    Raises
    ------
    InvalidInput
        weights that are not float32 on the CPU.
    """
    found = {n: reading_of(n, trace, training=training) for n in trace.graph.nodes}
    reasons = {trace.named(n.target): why for n, why in found.items() if isinstance(why, str)}
    readings = {n: r for n, r in found.items() if r is not None and not isinstance(r, str)}
    growing = _Growing(readings, trace.root, training)
    runs = [run for node in readings if (run := growing.run_from(node)) is not None]
    return Partition(tuple(runs), reasons)


class _Growing:
    """Grows runs, each node in one of them."""

    def __init__(self, readings: Mapping[Node, Reading], root: nn.Module, training: bool) -> None:
        self._readings, self._root, self._training = readings, root, training
        self._taken: set[Node] = set()

    def run_from(self, node: Node) -> Run | None:
        """The run that begins with a product, if none has taken it and one can."""
        product = self._readings[node]
        if not isinstance(product, Product) or node in self._taken:
            return None
        before = self._before(node)
        phi = self._read_through(node, before)
        if phi is None:
            return None
        nodes, products = self._grown(node, product)
        self._taken.update(nodes)
        nodes = nodes if before is None else [before, *nodes]
        steps = tuple(step for each in nodes if (step := self._step(each)) is not None)
        return Run(tuple(nodes), Chain(tuple(products), phi), steps)

    def _before(self, node: Node) -> Node | None:
        """The activation that a product reads, if its own input can be read in its place."""
        before = _read_by(node)
        if before in self._taken or not isinstance(self._readings.get(before), Phi):
            return None
        if len(before.users) > 1:
            return None
        source = _read_by(before)
        alone = len(source.users) == 1 and source.op != "placeholder"
        return before if alone or not writes(before, self._root) else None

    def _read_through(self, node: Node, before: Node | None) -> Phi | None:
        """The activation through which a product reads; None where it cannot be on lists."""
        if before is not None:
            phi = self._readings[before]
            assert isinstance(phi, Phi)
            return phi
        if not self._training:
            return IDENTITY
        active = has_zeros(_read_by(node), self._readings, self._root)
        return WHERE_ACTIVE if active else None

    def _grown(self, node: Node, product: Product) -> tuple[list[Node], list[Product]]:
        nodes, products, whole = [node], [product], 1
        while (after := _reader(nodes[-1])) is not None:
            step = self._readings.get(after)
            longer = None if step is None else self._extended(products, step)
            if longer is None:
                break
            nodes, products = [*nodes, after], longer
            whole = len(nodes) if isinstance(step, Product) else whole
        if self._training:  # ends with a product, whose output PyTorch goes on with
            nodes = nodes[:whole]
            products = [*products[:-1], dataclasses.replace(products[-1], phi=IDENTITY)]
        return nodes, products

    def _extended(self, products: list[Product], step: Reading) -> list[Product] | None:
        """The products with what follows them, if that can be a part of them."""
        last = products[-1]
        if isinstance(step, Nothing):
            return products
        if isinstance(step, Phi):
            free = last.phi.kind == "identity"
            return [*products[:-1], dataclasses.replace(last, phi=step)] if free else None
        if isinstance(step, nn.Module):
            return [*products[:-1], folded(last, step)] if folds(step, last) else None
        alike = (last.window is None) == (step.window is None) and last.outputs == step.inputs
        on_lists = last.phi.kind != "identity" or not self._training
        return [*products, step] if alike and on_lists else None

    def _step(self, node: Node) -> Callable[[Any], Any] | None:
        """A node as a module or function; None if it does nothing."""
        if node.op == "call_module":
            return self._root.get_submodule(str(node.target))
        reading = self._readings[node]
        return reading if isinstance(reading, Phi) else None


def _read_by(node: Node) -> Node:
    """The first thing that a node reads."""
    read = node.args[0]
    assert isinstance(read, Node)
    return read


def _reader(node: Node) -> Node | None:
    """The only node that reads this one, if there is one."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def looked_into(trace: Trace, runs: Iterable[Run]) -> set[Node]:
    """The ends of those runs whose memory is looked into, as ``view`` does.

    What a run gives lies as the kernels have it, and so does what PyTorch makes of that. Who reads
    the output of a part of a model is not known.
    """
    runs = tuple(runs)
    seen: set[Node] = set()
    for node in reversed(trace.graph.nodes):
        looks = (node.op == "output" and trace.name) or looks_into(node, trace.root)
        if looks or any(user in seen for user in node.users):
            seen.add(node)
        if any(node is run.nodes[0] for run in runs):  # whatever it reads, a run gives its own
            seen.discard(node)
    return {run.nodes[-1] for run in runs if any(user in seen for user in run.nodes[-1].users)}


def assembled(trace: Trace, runs: Mapping[str, Run]) -> fx.Graph:
    """The graph with a call of the root's attribute of that name in the place of each run."""
    graph, at = fx.Graph(), dict[Node, Node]()
    starting = {run.nodes[0]: name for name, run in runs.items()}
    gone = {node for run in runs.values() for node in run.nodes}
    for node in trace.graph.nodes:
        if node in starting:  # here what it reads is as yet unchanged
            run = runs[starting[node]]
            at[run.nodes[-1]] = graph.call_module(starting[node], (at[run.source],))
        if node not in gone:
            at[node] = graph.node_copy(node, at.__getitem__)
    return graph
