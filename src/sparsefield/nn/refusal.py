"""What a model is refused for: all of it in one error, with one ``ignore`` to copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.parameter import is_lazy

from sparsefield.errors import InvalidInput


@dataclass(frozen=True)
class Problem:
    """One thing that cannot be done.

    Attributes
    ----------
    text
        what, where and why.
    ignore
        the name that leaves it as it is; None where ignoring is no remedy.
    """

    text: str
    ignore: str | None = None


def refuse(problems: Sequence[Problem], remedy: str = "") -> None:
    """Raise :class:`InvalidInput` if there is any problem."""
    if not problems:
        return
    said = [problem.text for problem in problems]
    names = list(dict.fromkeys(p.ignore for p in problems if p.ignore is not None))
    if names:
        own = " ('' is the module itself, without its parts)" if "" in names else ""
        said.append(f"to leave parts as they are pass ignore={names!r}{own}")
    raise InvalidInput("; ".join(said + ([remedy] if remedy else [])))


def unreal(module: nn.Module) -> list[Problem]:
    """Parameters and buffers that hold no numbers yet."""
    found = []
    for name, part in module.named_modules():
        own = [*part._parameters.values(), *part._buffers.values()]
        if any(is_lazy(each) for each in own):
            found.append(Problem(f"{name}: a lazy layer has no shape yet; run one batch first"))
        elif any(each is not None and each.is_meta for each in own):
            found.append(
                Problem(
                    f"{name or 'the module'}: its tensors are on the meta device and hold nothing; "
                    "make them real first (to_empty, or load weights)"
                )
            )
    return found
