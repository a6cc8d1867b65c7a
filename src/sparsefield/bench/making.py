"""What every rival has in its making: no noise, and a call at the end or a reason why not."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

from torch import Tensor

from sparsefield.errors import SparsefieldError

Call = Callable[[Tensor], Tensor]


class Absent(SparsefieldError):
    """A rival is not installed here, or cannot take the model: the message says why."""


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no prints inside: exporters and compilers tell of what they themselves do.

    Errors are raised as ever, and what a rival computes is checked against eager.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
