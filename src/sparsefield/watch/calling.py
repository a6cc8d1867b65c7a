"""Every call of a module, told to those who listen, for the length of a block.

No hook is put on a module: it would travel with a copy or a pickle, and what was compiled before
would not call it. ``torch.nn.Module`` itself calls another way while somebody listens, as it does
while torch.fx traces.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn
from torch.backends import mha

Run = Callable[[], Any]


class Listener(Protocol):
    """Who is told of calls."""

    def call(self, module: nn.Module, args: Any, kwargs: Any, run: Run) -> Any:
        """Make the call by ``run``, and give what it shall give."""

    def begin(self, model: nn.Module) -> None:
        """A pass of ``model`` begins."""


_listeners: list[Listener] = []
_lock = threading.Lock()
_undo = ExitStack()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell ``listener`` of every call inside the block, after those who listened before."""
    with _lock:
        if not _listeners:
            _undo.enter_context(_told())
        _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)
            if not _listeners:
                _undo.close()


def begins(model: nn.Module) -> None:
    """Say that a pass of ``model`` begins, where its parts are called without itself."""
    for listener in tuple(_listeners):
        listener.begin(model)


@contextmanager
def _told() -> Iterator[None]:
    plain, fused = nn.Module._call_impl, mha.get_fastpath_enabled()

    def told(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        run: Run = partial(plain, module, *args, **kwargs)
        for listener in tuple(_listeners):
            run = partial(listener.call, module, args, kwargs, run)
        return run()

    with _uncompiled() as hidden:
        nn.Module._call_impl = hidden(told)  # type: ignore[method-assign]
        mha.set_fastpath_enabled(False)  # one kernel for a whole layer calls none of its modules
        try:
            yield
        finally:
            nn.Module._call_impl = plain  # type: ignore[method-assign]
            mha.set_fastpath_enabled(fused)


@contextmanager
def _uncompiled() -> Iterator[Callable[[Any], Any]]:
    """What was compiled runs as it is written: compiled code calls no module.

    Gives what makes a call that is told one that the compiler does not look into.
    """
    if "torch._dynamo" not in sys.modules:  # nothing was; and to import it takes a second
        yield lambda told: told
        return
    entry = nn.Module.__call__
    stance, hide = _stance()
    with stance:
        nn.Module.__call__ = _call_uncompiled  # type: ignore[method-assign]
        try:
            yield hide
        finally:
            nn.Module.__call__ = entry  # type: ignore[method-assign]


def _stance() -> tuple[AbstractContextManager[Any], Callable[[Any], Any]]:
    if not torch.compiler.is_compiling():
        with suppress(RuntimeError):  # the block is part of a function that was compiled
            return torch.compiler.set_stance("force_eager"), lambda told: told
    return nullcontext(), torch.compiler.disable


def _call_uncompiled(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return module._call_impl(*args, **kwargs)
