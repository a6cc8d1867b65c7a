"""Many runs from one file: planned, made anywhere, resumed at any point, put into one table."""

from sparsefield.sweep.estimate import Estimate as Estimate
from sparsefield.sweep.plan import Plan as Plan
from sparsefield.sweep.plan import read_plan as read_plan
from sparsefield.sweep.running import Swept as Swept
from sparsefield.sweep.running import check as check
from sparsefield.sweep.running import dry_run as dry_run
from sparsefield.sweep.running import sweep as sweep
from sparsefield.sweep.table import read_table as read_table

__all__ = ["Estimate", "Plan", "Swept", "check", "dry_run", "read_plan", "read_table", "sweep"]
