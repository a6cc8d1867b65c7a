"""Studies: a record of runs, effects with intervals, the claims that rest on them, a page.

What makes runs loads on first use: a record can be read and told without PyTorch.
"""

from typing import TYPE_CHECKING

from sparsefield.lazy import loading
from sparsefield.studies.arms import Arm as Arm
from sparsefield.studies.arms import arms as arms
from sparsefield.studies.effects import Effect as Effect
from sparsefield.studies.effects import effect as effect
from sparsefield.studies.effects import effects as effects
from sparsefield.studies.page import Page as Page
from sparsefield.studies.page import borne_out as borne_out
from sparsefield.studies.page import page as page
from sparsefield.studies.record import Record as Record
from sparsefield.studies.record import Row as Row
from sparsefield.studies.record import read_record as read_record
from sparsefield.studies.record import write_record as write_record
from sparsefield.studies.study import Study as Study
from sparsefield.studies.study import read_study as read_study
from sparsefield.studies.study import study as study
from sparsefield.studies.study import study_names as study_names
from sparsefield.studies.tables import Table as Table
from sparsefield.studies.tables import table as table

if TYPE_CHECKING:
    from sparsefield.studies.making import Reproduced as Reproduced
    from sparsefield.studies.making import estimated as estimated
    from sparsefield.studies.making import reproduce as reproduce

__getattr__ = loading(__name__, dict.fromkeys(("Reproduced", "estimated", "reproduce"), "making"))
