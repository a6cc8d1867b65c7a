"""Edge-of-chaos initialisation of modules for which theory holds, in place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Generator, nn
from torch.nn.utils.parametrize import is_parametrized

from sparsefield.errors import InvalidInput
from sparsefield.theory import Point

from .activations import Activation
from .chain import NotTraceable, order_of
from .fill import LAYERS, Layer, Weights, fill, is_plain
from .held import checked_ignore, held, owns, parts
from .of_point import activation, same
from .origin import Order
from .rectifier import is_rectifier
from .refusal import Problem, refuse, unreal

Role = Literal["first", "hidden", "head"]
_KINDS = ("gaussian", "orthogonal", "delta")
_KEPT = ("layer", "activation", "skip")
_REMEDY = (
    "sparsify_(model, point, sample) swaps activations, and fills from a sample what theory alone "
    "does not cover"
)


@dataclass(frozen=True)
class InitRow:
    """What :func:`init_` does to one layer.

    Attributes
    ----------
    name
        the layer's name in the module.
    role
        ``first``, ``hidden`` or ``head``.
    shape
        of the weight, ``[out, in / groups, *kernel]``.
    weights
        ``gaussian``, ``orthogonal`` or ``delta``.
    weight_variance
        variance of the weights times fan_in (sigma_w2 in a hidden layer).
    bias_variance
        variance of the biases.
    q
        expected mean square of the layer's output; None where a part that is left as it is
        decides it.
    """

    name: str
    role: Role
    shape: tuple[int, ...]
    weights: Weights
    weight_variance: float
    bias_variance: float
    q: float | None

    @property
    def fan_in(self) -> int:
        """Inputs that meet in one output."""
        return math.prod(self.shape[1:])

    @property
    def weight_std(self) -> float:
        """Standard deviation of one weight (averaged over the kernel for ``delta``)."""
        return math.sqrt(self.weight_variance / self.fan_in)


@dataclass(frozen=True)
class InitTable:
    """What every layer was filled with; prints as a table.

    Attributes
    ----------
    rows
        one a layer that was filled.
    left
        layers that were not, wholly or in part, with the reason: ``(("head", "frozen"),)``.
    """

    rows: tuple[InitRow, ...]
    left: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        names = [row.name for row in self.rows] + [name for name, _ in self.left]
        name_width = max(map(len, [*names, "layer"])) + 2
        head = f"{'layer':<{name_width}}{'role':<8}{'weights':<12}{'shape':<18}{'weight std':>11}"
        lines = [head + f"{'bias std':>11}{'q':>11}"]
        lines += [
            f"{row.name:<{name_width}}{row.role:<8}{row.weights:<12}{list(row.shape)!s:<18}"
            f"{row.weight_std:>11.5g}{math.sqrt(row.bias_variance):>11.5g}{_shown(row.q):>11}"
            for row in self.rows
        ]
        lines += [f"{name:<{name_width}}left as it is: {reason}" for name, reason in self.left]
        return "\n".join(lines)


def _shown(q: float | None) -> str:
    return "-" if q is None else f"{q:.5g}"


def init_(
    module: nn.Module,
    point: Point,
    *,
    weights: Weights = "gaussian",
    input_moment: float = 1.0,
    head_gain: float = 1.0,
    first: str | None = "auto",
    head: str | None = "auto",
    ignore: Iterable[str] = (),
    generator: Generator | None = None,
    dry_run: bool = False,
) -> InitTable:
    """Fill every Linear and Conv1d/2d/3d of ``module`` so that each pre-activation has variance q*.

    Hidden weights are N(0, sigma_w2 / fan_in) and biases N(0, sigma_b2) [DT26, P24]; the first
    layer's weights are scaled so that already q^1 = q*; the head's are N(0, head_gain^2 / fan_in)
    with zero bias. Weights are read in PyTorch's convention, ``[out, in / groups, *kernel]``.

    For modules in which theory holds: each hidden layer reads the point's activation. The order is
    that of a trace of the module by ``torch.fx``; that of registration in a container that has no
    forward. Any other model is for :func:`sparsefield.sparsify_`.

    Parameters
    ----------
    module
        a chain of layers and activations; layers keep their dtype and device.
    point
        from :func:`sparsefield.solve`, for the activation that the module uses.
    weights
        ``gaussian``; ``orthogonal`` (semi-orthogonal, scaled to the same variance);
        ``delta`` (convolutions: orthogonal centre tap, zeros around it [Xiao et al. 2018];
        linear layers: orthogonal).
    input_moment
        mean square of the data that the first layer reads.
    head_gain
        std of a head weight times sqrt(fan_in).
    first, head
        names of these layers; ``auto``: those that read the input, and those whose output
        no layer and no activation reads; None: the module has none.
    ignore
        names of sub-modules to leave untouched; '' stands for the module's own parameters. No q is
        promised behind them.
    generator
        source of randomness; the global one by default.
    dry_run
        return the table and change nothing.

    Returns
    -------
    The table of what was done, one row a layer. Frozen parameters, and those in memory that an
    ignored part or an earlier layer uses, are left alone; the table names them.

    Raises
    ------
    InvalidInput
        all at once: parts with parameters of another type that ``ignore`` does not name, an
        activation that is not the point's, a layer that reads a norm, a sum, another layer or
        whatever else is no activation, a forward that cannot be traced, an even kernel for
        ``delta``, a layer without the bias that the point needs; or a value out of range, a name
        that is not there. Nothing is changed then.

    >>> from torch import nn
    >>> from sparsefield import CReLU, init_, solve
    >>> point = solve("crelu", sparsity=0.9, clip=1.0)
    >>> act = CReLU(point.tau, point.m)
    >>> model = nn.Sequential(nn.Linear(8, 32), act, nn.Linear(32, 16), act, nn.Linear(16, 2))
    >>> table = init_(model, point, dry_run=True)
    >>> [row.role for row in table.rows]
    ['first', 'hidden', 'head']
    """
    _check_values(weights, input_moment, head_gain)
    ignored = checked_ignore(module, ignore)
    refuse(unreal(module))
    problems = _strangers(module, point, ignored)
    layers = _layers(module, ignored)
    if not layers and not problems:
        problems.append(Problem("the module has no Linear or Conv layer to initialise"))
    order = Order()
    try:
        order = order_of(module, list(layers), ignored)
    except NotTraceable as error:
        problems.append(Problem(f"torch.fx cannot trace what reads what ({error})"))
    roles = _roles(list(layers), order, first, head)
    problems += _out_of_theory(order, roles, first, {p.ignore for p in problems})
    problems += [each for name in layers for each in _unfit(name, layers[name], point, weights)]
    refuse(problems + _without_bias(layers, roles, point), _REMEDY)
    kept = held(module, list(layers))
    sure = _sure(order, {name for name, layer in layers.items() if id(layer.weight) in kept})
    rows = [
        _row(name, layer, roles[name], point, weights, input_moment, head_gain, name in sure)
        for name, layer in layers.items()
    ]
    filled = tuple(row for row in rows if id(layers[row.name].weight) not in kept)
    if not dry_run:
        for row in filled:
            _fill(layers[row.name], row, kept, generator)
    return InitTable(filled, tuple(_left(layers, kept)))


def torch_default_(module: nn.Module, generator: Generator | None = None) -> None:
    """PyTorch's own default for Linear and Conv, U(-1, 1) / sqrt(fan_in), from ``generator``."""
    for layer in _layers(module, ()).values():
        bound = 1.0 / math.sqrt(math.prod(layer.weight.shape[1:]))
        for tensor in layer.parameters():
            nn.init.uniform_(tensor, -bound, bound, generator=generator)


def _check_values(weights: str, input_moment: float, head_gain: float) -> None:
    if weights not in _KINDS:
        raise InvalidInput(f"weights {weights!r}: choose one of {', '.join(_KINDS)}")
    if not 0.0 < input_moment < math.inf:
        raise InvalidInput(
            f"input_moment {input_moment}: the data's mean square must be positive and finite; "
            "pass data.input_moment, or (x ** 2).mean()"
        )
    check_head_gain(head_gain)


def check_head_gain(head_gain: float) -> None:
    """Refuse a gain that is none."""
    if not 0.0 <= head_gain < math.inf:
        raise InvalidInput(f"head_gain {head_gain}: must be >= 0 and finite; try 1.0")


def _layers(module: nn.Module, ignored: Sequence[str]) -> dict[str, Layer]:
    """Linear and Conv layers by name."""
    return {
        name: part
        for name, part in parts(module, ignored)
        if isinstance(part, LAYERS) and is_plain(part)
    }


def _strangers(module: nn.Module, point: Point, ignored: Sequence[str]) -> list[Problem]:
    """Activations of another point, and parts with parameters that cannot be filled."""
    wanted, found = activation(point), []
    for name, part in parts(module, ignored):
        if (isinstance(part, Activation) and not same(part, wanted)) or is_rectifier(part):
            text = f"{part} is not the activation of this point ({wanted.extra_repr()})"
        elif (owns(part) or is_parametrized(part)) and not (
            isinstance(part, LAYERS) and is_plain(part)
        ):
            text = f"init_ does not know how to fill this {type(part).__name__}"
        else:
            continue
        found.append(Problem(f"{name or 'module'}: {text}", name))
    return found


def _roles(names: list[str], order: Order, first: str | None, head: str | None) -> dict[str, Role]:
    """Which layers read the input, and which put out what nothing reads."""
    for role, name in (("first", first), ("head", head)):
        if name not in (None, "auto", *names):
            raise InvalidInput(f"{role} {name!r}: not one of the layers {', '.join(names)}")
    reading = {call.name for call in order.of("layer") if call.read.kind == "input"}
    firsts = reading if first == "auto" else {first}
    heads = order.heads if head == "auto" else {head}
    if head == "auto" and len(names) == 1:
        heads = set()
    return {
        name: "head" if name in heads else "first" if name in firsts else "hidden" for name in names
    }


def _out_of_theory(
    order: Order, roles: dict[str, Role], first: str | None, known: set[str | None]
) -> list[Problem]:
    """Layers that read no activation of the point, and activations that read no layer."""
    found = []
    for call in order.calls:
        read, role = call.read, roles.get(call.name)
        fine = {"ignored", "input"} if first is None or role != "hidden" else {"ignored"}
        fine |= {"activation"} if call.kind == "layer" else {"layer", "skip", "input"}
        fine |= {"pooling"} if role == "head" else set()
        if read.kind in fine or read.name in known:
            continue

        wanted = "an activation of the point" if call.kind == "layer" else "a layer"
        found.append(Problem(f"{call.place}: reads {read.said}, not {wanted}"))
    return found


def _unfit(name: str, layer: Layer, point: Point, weights: Weights) -> list[Problem]:
    shape = list(layer.weight.shape)
    if 0 in shape:
        return [Problem(f"{name}: weight of shape {shape} is empty; nothing to fill", name)]
    if weights == "delta" and any(size % 2 == 0 for size in shape[2:]):
        return [Problem(f"{name}: a kernel of {shape[2:]} has no centre; use orthogonal")]
    return []


def _without_bias(layers: dict[str, Layer], roles: dict[str, Role], point: Point) -> list[Problem]:
    return [
        Problem(
            f"{name}: the fixed point needs biases of variance {point.sigma_b2:.6g}, the layer has "
            "none; build it with bias=True",
            name,
        )
        for name, layer in layers.items()
        if layer.bias is None and point.sigma_b2 > 0.0 and roles[name] != "head"
    ]


def _sure(order: Order, left: set[str]) -> set[str]:
    """Layers whose q no ignored part, and no layer that is left, decides: from the input on."""
    sure: set[str] = set()
    for call in order.calls:
        read, at = call.read, call.name if call.kind == "layer" else call.place
        from_sure = (set(read.terms) or {read.name}) <= sure
        if at not in left and (read.kind == "input" or (read.kind in _KEPT and from_sure)):
            sure.add(at)
    return sure


def _row(
    name: str,
    layer: Layer,
    role: Role,
    point: Point,
    weights: Weights,
    input_moment: float,
    head_gain: float,
    sure: bool,
) -> InitRow:
    shape = tuple(layer.weight.shape)
    if role == "head":
        variance, bias, q = head_gain**2, 0.0, head_gain**2 * point.second_moment
    elif role == "first":
        # q^1 = sigma^2 E[x^2] + sigma_b2 = q*
        variance, bias, q = (point.q - point.sigma_b2) / input_moment, point.sigma_b2, point.q
    else:
        variance, bias, q = point.sigma_w2, point.sigma_b2, point.q
    kind: Weights = "orthogonal" if weights == "delta" and len(shape) == 2 else weights
    return InitRow(name, role, shape, kind, float(variance), bias, q if sure else None)


def _fill(layer: Layer, row: InitRow, kept: dict[int, str], generator: Generator | None) -> None:
    bias = None if id(layer.bias) in kept else row.bias_variance
    fill(layer, row.weight_variance, bias, generator, row.weights)


def _left(layers: dict[str, Layer], kept: dict[int, str]) -> list[tuple[str, str]]:
    """Layers that keep their weight, or their bias, and why."""
    found = []
    for name, layer in layers.items():
        if id(layer.weight) in kept:
            found.append((name, kept[id(layer.weight)]))
        elif id(layer.bias) in kept:
            found.append((f"{name}.bias", kept[id(layer.bias)]))
    return found
