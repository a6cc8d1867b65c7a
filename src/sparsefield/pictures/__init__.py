"""Every figure, and the HTML report: of a run, a sweep, the demo and a study alike."""

from sparsefield.pictures.picture import picture as picture
from sparsefield.pictures.report import report as report

__all__ = ["picture", "report"]
