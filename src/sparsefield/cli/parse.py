"""tyro parses; what it rejects becomes one line."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tyro

from sparsefield.errors import InvalidInput

_STYLE = (tyro.conf.DisallowNone, tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)


def parse_and_call(commands: Mapping[str, Callable[..., None]], argv: Sequence[str]) -> None:
    """Call the command that ``argv`` names with the flags that it gives.

    Raises
    ------
    InvalidInput
        for an unknown command or flag, a missing or an ill-typed value.
    """
    if argv and not argv[0].startswith("-") and argv[0] not in commands:
        raise InvalidInput(f"command {argv[0]!r} is unknown; choose one of {', '.join(commands)}")
    _parsed(commands, list(argv) or ["--help"])()


def _parsed(commands: Mapping[str, Callable[..., None]], argv: Sequence[str]) -> Callable[[], None]:
    """The command with its arguments bound; it is called outside tyro, which eats ValueErrors."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            bound: Callable[[], None] = tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(command) for name, command in commands.items()},
                prog="sparsefield",
                description="Sparse deep networks from their initialisation on.",
                args=argv,
                config=_STYLE,
            )
            return bound
    except SystemExit as stop:
        if stop.code in (0, None):  # --help
            raise
        help_flag = " ".join(
            ["sparsefield", *(word for word in argv[:1] if word in commands), "--help"]
        )
        message = _first_message(complaint.getvalue())
        raise InvalidInput(f"{message} (see {help_flag})") from None


def _deferred(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """``command`` with the same signature and help, returning a call instead of making it."""

    @functools.wraps(command)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return functools.partial(command, *args, **kwargs)

    return bind


def _first_message(box: str) -> str:
    """The text of tyro's error box up to its first rule, as one line."""
    lines = [line.strip("╭╮╰╯│─ \t") for line in box.splitlines()]
    body: list[str] = []
    for line, raw in zip(lines[1:], box.splitlines()[1:], strict=True):
        if body and not line and "─" in raw:
            break
        body.append(line)
    return " ".join(" ".join(body).split()) or " ".join(box.split())
