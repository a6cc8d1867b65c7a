"""``python -m sparsefield.pictures DIRECTORY OUT``: the picture of a folder of runs."""

from __future__ import annotations

import sys

import tyro

from sparsefield.errors import SparsefieldError
from sparsefield.pictures import picture


def main() -> int:
    """Draw the picture that the command line names; the exit code."""
    try:
        tyro.cli(picture, prog="python -m sparsefield.pictures")
    except SparsefieldError as error:
        sys.stderr.write(f"sparsefield: error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
