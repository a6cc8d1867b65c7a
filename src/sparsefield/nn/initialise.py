"""Edge-of-chaos initialisation of real modules, in place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from sparsefield.errors import InvalidInput
from sparsefield.theory import Point

from .activations import Activation
from .of_point import activation

Weights = Literal["gaussian", "orthogonal", "delta"]
_KINDS = ("gaussian", "orthogonal", "delta")
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


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
        expected mean square of the layer's output.
    """

    name: str
    role: Literal["first", "hidden", "head"]
    shape: tuple[int, ...]
    weights: Weights
    weight_variance: float
    bias_variance: float
    q: float

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
    """What every layer was filled with; prints as a table."""

    rows: tuple[InitRow, ...]

    def __str__(self) -> str:
        name_width = max([len(row.name) for row in self.rows] + [5]) + 2
        head = f"{'layer':<{name_width}}{'role':<8}{'weights':<12}{'shape':<18}{'weight std':>11}"
        lines = [head + f"{'bias std':>11}{'q':>11}"]
        lines += [
            f"{row.name:<{name_width}}{row.role:<8}{row.weights:<12}{list(row.shape)!s:<18}"
            f"{row.weight_std:>11.5g}{math.sqrt(row.bias_variance):>11.5g}{row.q:>11.5g}"
            for row in self.rows
        ]
        return "\n".join(lines)


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
    with zero bias. Weights are read in
    PyTorch's convention, ``[out, in / groups, *kernel]``.

    Parameters
    ----------
    module
        any module; layers keep their dtype and device.
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
        names of these layers; ``auto``: the first and the last registered; None: the
        module has none.
    ignore
        names of sub-modules to leave untouched.
    generator
        source of randomness; the global one by default.
    dry_run
        return the table and change nothing.

    Returns
    -------
    The table of what was done, one row a layer.

    Raises
    ------
    InvalidInput
        a parametrised layer of another type that ``ignore`` does not name, a name
        that is not there, an activation with another tau or m than ``point``, an even kernel
        for ``delta``, or a value out of range; nothing is changed then.

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
    skipped = _checked_ignore(module, ignore)
    input_moment = float(input_moment)
    _check_activations(module, point, skipped)
    layers = _layers(module, skipped)
    roles = _roles(list(layers), first, head)
    rows = tuple(
        _row(name, layer, roles.get(name, "hidden"), point, weights, input_moment, head_gain)
        for name, layer in layers.items()
    )
    if not dry_run:
        for row in rows:
            _fill(layers[row.name], row, generator)
    return InitTable(rows)


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
    if not 0.0 <= head_gain < math.inf:
        raise InvalidInput(f"head_gain {head_gain}: must be >= 0 and finite; try 1.0")


def _checked_ignore(module: nn.Module, ignore: Iterable[str]) -> tuple[str, ...]:
    skipped = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    names = {name for name, _ in module.named_modules(remove_duplicate=False)}
    for name in skipped:
        if name not in names:
            raise InvalidInput(f"ignore {name!r}: the module has no sub-module of that name")
    return skipped


def _parts(module: nn.Module, ignore: tuple[str, ...]) -> Iterator[tuple[str, nn.Module]]:
    """Every sub-module by every name it has, those under an ignored name left out."""
    for name, part in module.named_modules(remove_duplicate=False):
        if not any(name == skip or name.startswith(f"{skip}.") for skip in ignore):
            yield name, part


def _check_activations(module: nn.Module, point: Point, ignore: tuple[str, ...]) -> None:
    wanted = activation(point)
    for name, part in _parts(module, ignore):
        if isinstance(part, Activation) and not _same(part, wanted):
            raise InvalidInput(
                f"{name}: {part} is not the activation of this point ({wanted.extra_repr()}); "
                "build it with sparsefield.activation(point)"
            )


def _same(one: Activation, other: Activation) -> bool:
    pairs = zip(one.constants.values(), other.constants.values(), strict=False)
    return type(one) is type(other) and all(
        math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) for a, b in pairs
    )


def _layers(module: nn.Module, ignore: tuple[str, ...]) -> dict[str, _Layer]:
    """Linear and Conv layers by name; anything else with parameters of its own is an error."""
    found: dict[str, _Layer] = {}
    owners: dict[int, str] = {}
    for name, part in _parts(module, ignore):
        own = list(part.parameters(recurse=False))
        for parameter in own:
            first = owners.setdefault(id(parameter), name)
            if first != name:
                raise InvalidInput(
                    f"{name}: shares its parameters with {first}, and one filling cannot serve "
                    f"two places; initialise it yourself and pass ignore=[{first!r}, {name!r}]"
                )
        if isinstance(part, _LAYERS) and _is_plain(part):
            if any(isinstance(p, nn.parameter.UninitializedParameter) for p in own):
                raise InvalidInput(f"{name}: a lazy layer has no shape yet; run one batch first")
            found[name] = part
        elif own or is_parametrized(part):
            remedy = f" and pass ignore=[{name!r}]" if name else ""
            raise InvalidInput(
                f"{name or 'module'}: init_ does not know how to fill this "
                f"{type(part).__name__}; initialise it yourself{remedy}"
            )
    if not found:
        raise InvalidInput("the module has no Linear or Conv layer to initialise")
    return found


def _is_plain(layer: nn.Module) -> bool:
    """Whether the weight is a parameter of its own, not computed from others before each call."""
    return isinstance(layer._parameters.get("weight"), nn.Parameter) and not is_parametrized(layer)


def _roles(
    names: list[str], first: str | None, head: str | None
) -> dict[str, Literal["first", "head"]]:
    """Which layer is the first and which the head."""
    first = names[0] if first == "auto" else first
    head = (names[-1] if len(names) > 1 else None) if head == "auto" else head
    for role, name in (("first", first), ("head", head)):
        if name is not None and name not in names:
            raise InvalidInput(f"{role} {name!r}: not one of the layers {', '.join(names)}")
    roles: dict[str, Literal["first", "head"]] = {}
    if first is not None:
        roles[first] = "first"
    if head is not None:
        roles[head] = "head"
    return roles


def _row(
    name: str,
    layer: _Layer,
    role: Literal["first", "hidden", "head"],
    point: Point,
    weights: Weights,
    input_moment: float,
    head_gain: float,
) -> InitRow:
    shape = tuple(layer.weight.shape)
    if 0 in shape:
        raise InvalidInput(f"{name}: weight of shape {list(shape)} is empty; nothing to fill")
    if weights == "delta" and any(size % 2 == 0 for size in shape[2:]):
        raise InvalidInput(f"{name}: a kernel of {list(shape[2:])} has no centre; use orthogonal")
    if role == "head":
        variance, bias, q = head_gain**2, 0.0, head_gain**2 * point.second_moment
    elif role == "first":
        # q^1 = sigma^2 E[x^2] + sigma_b2 = q*
        variance, bias, q = (point.q - point.sigma_b2) / input_moment, point.sigma_b2, point.q
    else:
        variance, bias, q = point.sigma_w2, point.sigma_b2, point.q
    if layer.bias is None and bias > 0.0:
        raise InvalidInput(
            f"{name}: the fixed point needs biases of variance {bias:.6g}, the layer has none; "
            "build it with bias=True"
        )
    kind: Weights = "orthogonal" if weights == "delta" and len(shape) == 2 else weights
    return InitRow(name, role, shape, kind, variance, bias, q)


@torch.no_grad()
def _fill(layer: _Layer, row: InitRow, generator: Generator | None) -> None:
    if row.weights == "gaussian":
        layer.weight.normal_(0.0, row.weight_std, generator=generator)
    else:
        for block in layer.weight.chunk(getattr(layer, "groups", 1)):
            _fill_orthogonal(block, row, generator)
    if layer.bias is not None:
        layer.bias.normal_(0.0, math.sqrt(row.bias_variance), generator=generator)


def _fill_orthogonal(block: Tensor, row: InitRow, generator: Generator | None) -> None:
    """One group's weights [out, in, *kernel]: E[h^2] = variance times the mean square read."""
    target = block
    if row.weights == "delta":
        block.zero_()
        target = block[_centre_tap(block)]
    out, fan_in = target.shape[0], math.prod(target.shape[1:])
    # orthonormal columns (out > fan_in) spread the input's energy over more outputs
    gain = math.sqrt(row.weight_variance * max(1.0, out / fan_in))
    target.copy_(_orthogonal(out, fan_in, block, generator).mul_(gain).view(target.shape))


def _centre_tap(block: Tensor) -> tuple[slice | int, ...]:
    return (slice(None), slice(None), *(size // 2 for size in block.shape[2:]))


def _orthogonal(rows: int, columns: int, like: Tensor, generator: Generator | None) -> Tensor:
    """Haar-distributed semi-orthogonal matrix [rows, columns] on the device of ``like``."""
    dtype = torch.promote_types(like.dtype, torch.float32)  # no QR in half precision
    flat = torch.empty(rows, columns, dtype=dtype, device=like.device)
    return nn.init.orthogonal_(flat, generator=generator)
