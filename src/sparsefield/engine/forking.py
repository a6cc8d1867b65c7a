"""OpenMP's threads do not live on in a forked child, where a loop shared with them never ends.

PyTorch's own layers hang there (at the first parallel loop, once its parent has run one), so in a
forked child the engine runs all on one thread. A spawned process has threads of its own.
"""

from __future__ import annotations

import os

import torch

_forked = False


def _note() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_note)


def one_thread_if_forked() -> None:
    """Set PyTorch's number of threads to 1 in the child of a fork; elsewhere, leave it."""
    if _forked and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
