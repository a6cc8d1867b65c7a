"""Studies: questions that one command answers, with records, intervals and pages made of them."""

from sparsefield.experiments.studies.arms import Arm as Arm
from sparsefield.experiments.studies.arms import arms as arms
from sparsefield.experiments.studies.arms import chosen as chosen
from sparsefield.experiments.studies.page import page as page
from sparsefield.experiments.studies.publishing import differences as differences
from sparsefield.experiments.studies.publishing import publish as publish
from sparsefield.experiments.studies.reading import Finding as Finding
from sparsefield.experiments.studies.reading import Reading as Reading
from sparsefield.experiments.studies.reading import Table as Table
from sparsefield.experiments.studies.reading import read as read
from sparsefield.experiments.studies.record import Record as Record
from sparsefield.experiments.studies.record import Row as Row
from sparsefield.experiments.studies.record import read_record as read_record
from sparsefield.experiments.studies.record import write_record as write_record
from sparsefield.experiments.studies.reproduce import Reproduced as Reproduced
from sparsefield.experiments.studies.reproduce import estimated as estimated
from sparsefield.experiments.studies.reproduce import reproduce as reproduce
from sparsefield.experiments.studies.statistics import Interval as Interval
from sparsefield.experiments.studies.study import Study as Study
from sparsefield.experiments.studies.study import read_study as read_study
from sparsefield.experiments.studies.study import study as study
from sparsefield.experiments.studies.study import study_names as study_names
