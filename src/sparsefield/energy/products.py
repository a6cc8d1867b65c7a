"""Products that no layer's module makes: by a weight that is used by hand, or of activations."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from sparsefield.energy.rows import Connection

# names of operators below autograd, to which torch brings every product
_PRODUCT = re.compile(r"(mm|mv|dot|linear|lstm|gru|rnn\w*)$|attention|convolution$")
_MATRIX = {"mm", "addmm", "bmm", "baddbmm", "mv", "addmv"}
_CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
Path = tuple[str, str]  # of a module, and its name of a weight


class Products(TorchDispatchMode):
    """Inside the block, ``told`` hears of every product: its operator, arguments and output."""

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to import the compiler takes a second

    def __init__(self, told: Callable[[str, Sequence[Any], Any], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._told = told

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operator = getattr(func, "_overloadpacket", func).__name__
        if torch.is_inference_mode_enabled() and hasattr(func, "decompose"):
            with self:  # inference mode comes here before it takes an operator apart
                output = func.decompose(*args, **kwargs)
            if output is not NotImplemented:
                return output
        output = func(*args, **kwargs)
        if _PRODUCT.search(operator):
            self._told(operator, args, output)
        return output


class Weights:
    """The matrices and kernels that a model holds, found again by where they lie in memory."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        self._held: dict[int, list[tuple[Path, Tensor]]] = {}
        for name, part in parts.items():
            for key, weight in [*part._parameters.items(), *part._buffers.items()]:
                if weight is not None and not is_lazy(weight) and weight.dim() > 1:
                    held = self._held.setdefault(_storage(weight), [])
                    held.append(((name, key), weight))

    def paths(self, x: Tensor) -> list[Path]:
        """Where the model holds ``x``, or what ``x`` is a part or another view of."""
        return [
            path
            for path, weight in self._held.get(_storage(x), ())
            if 0 <= x.data_ptr() - weight.data_ptr() < weight.nbytes
        ]


def _storage(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def factors(operator: str, args: Sequence[Any]) -> dict[int, Tensor]:
    """What is multiplied, by its place among the arguments."""
    added = operator.startswith(("add", "badd"))  # the first is a term
    return {i: x for i, x in enumerate(args) if isinstance(x, Tensor) and i >= added}


def as_layer(
    operator: str, args: Sequence[Any], held: set[int]
) -> tuple[Connection, Tensor] | None:
    """The layer that a product by a weight is, and what it reads.

    Parameters
    ----------
    operator, args
        as :class:`Products` tells them.
    held
        which of the factors are weights.

    Returns
    -------
    tuple or None
        None where neither or both of the factors are weights, or for an operator that is not
        known.
    """
    if operator == "convolution":
        return None if args[6] or held != {1} else (_convolution(*args), args[0])
    if operator not in _MATRIX:
        return None
    bias = args[0] if operator in ("addmm", "addmv") and args[0].dim() == 1 else None
    first, second = len(args) - 2, len(args) - 1
    if (first in held) == (second in held):
        return None
    a, b = args[first], args[second]
    if b.dim() == 1:  # a matrix by a vector
        b = b[:, None]
    x, weight = (a, b) if second in held else (b.mT, a.mT)  # (x w)^T = w^T x^T
    return _linear(x, weight, bias) if weight.dim() == 2 else _batched(x, weight, bias)


def macs(operator: str, args: Sequence[Any], output: Any) -> int | None:
    """Multiply-accumulates of a product of which nothing else is known; None where this is not."""
    if operator in _MATRIX:
        return int(output.numel() * args[-1].shape[-2 if args[-1].dim() > 1 else -1])
    if "attention" in operator:
        query, key, value = args[:3]
        width = query.shape[-1] + value.shape[-1]
        return int(query[..., 0].numel() * key.shape[-2] * width)
    if operator == "convolution" and args[6]:  # transposed
        return int(args[0].numel() * args[1][0].numel())
    return None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Connection, Tensor]:
    inputs, outputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=False, device="meta")
    return _with(layer, weight.mT, bias), x


def _batched(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Connection, Tensor]:
    """[batch, n, inputs] by [batch, inputs, outputs]."""
    batch, inputs, outputs = weight.shape
    if batch == 1 or weight.stride(0) == 0:  # one weight for all
        return _linear(x.flatten(0, 1), weight[0], bias)
    layer = nn.Conv1d(batch * inputs, batch * outputs, 1, groups=batch, bias=False, device="meta")
    kernel = weight.mT.reshape(batch * outputs, inputs, 1)
    return _with(layer, kernel, bias), x.transpose(0, 1).reshape(-1, batch * inputs, 1)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Connection:
    make: Any = _CONVOLUTIONS[weight.dim()]
    layer = make(
        x.shape[1],
        len(weight),
        tuple(weight.shape[2:]),
        *(tuple(stride), tuple(padding), tuple(dilation), groups),
        bias=False,
        device="meta",
    )
    return _with(layer, weight, bias)


def _with(layer: Any, weight: Tensor, bias: Tensor | None) -> Connection:
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    connection: Connection = layer
    return connection
