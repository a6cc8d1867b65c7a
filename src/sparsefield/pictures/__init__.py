"""Every figure, and the HTML report: of a run, a sweep, the demo and a study alike."""

from sparsefield.pictures.report import report as report

__all__ = ["report"]
