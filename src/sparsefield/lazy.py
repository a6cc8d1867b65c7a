"""The names of a package that load on first use: asking for one costs no import of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def loading(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package.

    Parameters
    ----------
    package
        its ``__name__``.
    homes
        name -> the module of the package that defines it.

    >>> loading("sparsefield.train", {"Result": "record"})("Result").__name__
    'Result'
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return get
