"""The command line: parsing only, one call per command."""

from .main import main as main
