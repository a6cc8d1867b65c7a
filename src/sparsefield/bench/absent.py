"""Why a rival has no time."""

from sparsefield.errors import SparsefieldError


class Absent(SparsefieldError):
    """A rival is not installed here, or cannot take the model: the message says why."""
