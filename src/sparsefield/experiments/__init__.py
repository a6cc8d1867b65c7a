"""Several runs as one question: the demo, and the report that answers from what was recorded."""

from sparsefield.experiments.demo import demo as demo
from sparsefield.experiments.picture import picture as picture
from sparsefield.experiments.report import report as report

__all__ = ["demo", "picture", "report"]
