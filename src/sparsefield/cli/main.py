"""Exit codes and messages: 0 on success, 2 on bad input with one line and no traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sparsefield.errors import SparsefieldError

from .commands import COMMANDS
from .parse import parse_and_call


def main(argv: Sequence[str] | None = None) -> int:
    """Run one ``sparsefield`` command; returns the exit code."""
    try:
        parse_and_call(COMMANDS, sys.argv[1:] if argv is None else list(argv))
    except SparsefieldError as error:
        print(f"sparsefield: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        print("sparsefield: interrupted", file=sys.stderr)
        return 130
    return 0
