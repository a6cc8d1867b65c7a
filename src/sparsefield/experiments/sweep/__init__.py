"""Many runs from one file: planned, made anywhere, resumed at any point, put into one table."""

from sparsefield.experiments.sweep.estimate import Estimate as Estimate
from sparsefield.experiments.sweep.plan import Plan as Plan
from sparsefield.experiments.sweep.plan import read_plan as read_plan
from sparsefield.experiments.sweep.running import Swept as Swept
from sparsefield.experiments.sweep.running import check as check
from sparsefield.experiments.sweep.running import dry_run as dry_run
from sparsefield.experiments.sweep.running import sweep as sweep
from sparsefield.experiments.sweep.table import read_table as read_table

__all__ = ["Estimate", "Plan", "Swept", "check", "dry_run", "read_plan", "read_table", "sweep"]
