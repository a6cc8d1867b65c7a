"""Several runs as one question: the demo, and the report that answers from what was recorded."""

from sparsefield.experiments.demo import demo as demo
from sparsefield.experiments.picture import picture as picture
from sparsefield.experiments.report import report as report
from sparsefield.experiments.thresholding import thresholded as thresholded

__all__ = ["demo", "picture", "report", "thresholded"]
