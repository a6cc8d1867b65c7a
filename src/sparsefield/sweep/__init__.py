"""Many runs from one file: a grid becomes configs, workers make runs, one table comes out.

The names load on first use: a table can be read without PyTorch.
"""

from typing import TYPE_CHECKING

from sparsefield.lazy import loading

if TYPE_CHECKING:
    from sparsefield.sweep.estimate import Estimate as Estimate
    from sparsefield.sweep.failure import read_failure as read_failure
    from sparsefield.sweep.folder import place as place
    from sparsefield.sweep.grid import Grid as Grid
    from sparsefield.sweep.grid import NamedConfig as NamedConfig
    from sparsefield.sweep.grid import read_grid as read_grid
    from sparsefield.sweep.running import Swept as Swept
    from sparsefield.sweep.running import check as check
    from sparsefield.sweep.running import dry_run as dry_run
    from sparsefield.sweep.running import sweep as sweep
    from sparsefield.sweep.table import read_table as read_table

_HOMES = {
    "Estimate": "estimate",
    "read_failure": "failure",
    "place": "folder",
    "Grid": "grid",
    "NamedConfig": "grid",
    "read_grid": "grid",
    "Swept": "running",
    "check": "running",
    "dry_run": "running",
    "sweep": "running",
    "read_table": "table",
}

__all__ = sorted(_HOMES)

__getattr__ = loading(__name__, _HOMES)
