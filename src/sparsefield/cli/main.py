"""Exit codes and messages: 0 on success, 2 on bad input with one line and no traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sparsefield.errors import SparsefieldError

from .commands import COMMANDS
from .parse import parse_and_call
from .termination import EXIT_CODE, Terminated, termination_raised

_RESUMED = ("sweep", "reproduce", "demo")  # that go on by the same call


def main(argv: Sequence[str] | None = None) -> int:
    """Run one ``sparsefield`` command; returns the exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    try:
        with termination_raised():
            parse_and_call(COMMANDS, given)
    except SparsefieldError as error:
        print(f"sparsefield: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        print(f"sparsefield: interrupted{_how_to_go_on(given)}", file=sys.stderr)
        return 130
    except Terminated:
        print(f"sparsefield: terminated{_how_to_go_on(given)}", file=sys.stderr)
        return EXIT_CODE
    return 0


def _how_to_go_on(argv: Sequence[str]) -> str:
    if argv[:1] and argv[0] in _RESUMED and "--dry-run" not in argv:
        return "; the same command again goes on where it was"
    return ""
