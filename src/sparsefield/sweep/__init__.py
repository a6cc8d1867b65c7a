"""Many runs from one file: a grid becomes configs, workers make runs, one table comes out."""

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

__all__ = [
    *("Estimate", "Grid", "NamedConfig", "Swept", "check", "dry_run", "place", "read_failure"),
    *("read_grid", "read_table", "sweep"),
]
