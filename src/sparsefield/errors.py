"""What sparsefield raises on purpose: one line with the value given, the rule and the remedy."""

from __future__ import annotations

import importlib
from types import ModuleType


class SparsefieldError(Exception):
    """Base of every error raised on purpose; the command line prints it as one line, exit 2."""


class InvalidInput(SparsefieldError, ValueError):
    """A value that breaks a stated rule."""


class MissingExtra(SparsefieldError, ImportError):
    """An optional dependency is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional ``module``, or raise :class:`MissingExtra` naming the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module} is not installed ({error}); "
            f"it comes with: pip install 'sparsefield[{extra}]'"
        ) from error
