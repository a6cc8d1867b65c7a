"""Studies: questions that one command answers, with records, intervals and pages made of them."""

from sparsefield.studies.arms import Arm as Arm
from sparsefield.studies.arms import arms as arms
from sparsefield.studies.arms import chosen as chosen
from sparsefield.studies.page import page as page
from sparsefield.studies.publishing import differences as differences
from sparsefield.studies.publishing import publish as publish
from sparsefield.studies.reading import Finding as Finding
from sparsefield.studies.reading import Reading as Reading
from sparsefield.studies.reading import Table as Table
from sparsefield.studies.reading import read as read
from sparsefield.studies.record import Record as Record
from sparsefield.studies.record import Row as Row
from sparsefield.studies.record import read_record as read_record
from sparsefield.studies.record import write_record as write_record
from sparsefield.studies.reproduce import Reproduced as Reproduced
from sparsefield.studies.reproduce import estimated as estimated
from sparsefield.studies.reproduce import reproduce as reproduce
from sparsefield.studies.study import Study as Study
from sparsefield.studies.study import read_study as read_study
from sparsefield.studies.study import study as study
from sparsefield.studies.study import study_names as study_names
from sparsefield.sweep.statistics import Interval as Interval
