"""Which parameters are left alone: ignored, frozen, or in memory that another part uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sparsefield.errors import InvalidInput


def checked_ignore(module: nn.Module, ignore: Iterable[str]) -> tuple[str, ...]:
    """``ignore`` as names, each of which is there; '' is the module itself."""
    ignored = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    names = {name for name, _ in module.named_modules(remove_duplicate=False)}
    for name in ignored:
        if name not in names:
            raise InvalidInput(f"ignore {name!r}: the module has no sub-module of that name")
    return ignored


def under(name: str, ignored: Sequence[str]) -> bool:
    """Whether a part of this name is ignored; '' stands for the module's own parameters alone.

    >>> under("a.b", ["a"]), under("a", [""]), under("", [""])
    (True, False, True)
    """
    return any(name == skip or name.startswith(f"{skip}.") for skip in ignored)


def owns(part: nn.Module) -> bool:
    """Whether a part holds parameters itself, not only its own parts."""
    return any(parameter is not None for parameter in part._parameters.values())


def parts(module: nn.Module, ignored: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    """Every sub-module once, those left out that are ignored by any of their names."""
    named = list(module.named_modules(remove_duplicate=False))
    left_out = {id(part) for name, part in named if under(name, ignored)}
    for name, part in module.named_modules():
        if id(part) not in left_out:
            yield name, part


@dataclass(frozen=True)
class _Span:
    """Bytes of memory that a tensor of ``owner`` lies in."""

    owner: str
    tensor: Tensor
    start: int
    end: int


def held(module: nn.Module, filled: Sequence[str]) -> dict[int, str]:
    """Why parameters of the layers to be filled are left alone, by their id.

    Parameters
    ----------
    module
        all of whose parameters and buffers count.
    filled
        names of the layers to be filled, in the order in which they are: of two that share
        memory, the first is filled.
    """
    rank = {name: place for place, name in enumerate(filled)}
    reasons: dict[int, str] = {}
    for spans in _by_storage(module).values():
        for span in spans:
            if span.owner in rank:
                reason = _reason(span, spans, rank)
                if reason:
                    reasons[id(span.tensor)] = reason
    return reasons


def _reason(span: _Span, spans: list[_Span], rank: dict[str, int]) -> str:
    if not span.tensor.requires_grad:
        return "frozen"
    for other in spans:
        overlaps = other.start < span.end and span.start < other.end
        comes_first = rank.get(other.owner, -1) < rank[span.owner] or not other.tensor.requires_grad
        if other.owner != span.owner and overlaps and comes_first:
            return f"shares its memory with {other.owner or 'the module itself'}"
    return ""


def _by_storage(module: nn.Module) -> dict[tuple[torch.device, int], list[_Span]]:
    found: dict[tuple[torch.device, int], list[_Span]] = defaultdict(list)
    for name, part in module.named_modules():
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if _is_real(tensor):
                key = (tensor.device, tensor.untyped_storage().data_ptr())
                found[key].append(_span(name, tensor))
    return found


def _is_real(tensor: Tensor | None) -> bool:
    if tensor is None or is_lazy(tensor):
        return False
    return not tensor.is_meta and tensor.numel() > 0


def _span(owner: str, tensor: Tensor) -> _Span:
    extent = 1 + sum(
        (size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True)
    )
    start = tensor.data_ptr()
    return _Span(owner, tensor, start, start + extent * tensor.element_size())
