"""What a network does while it trains, beside what theory says of it at initialisation."""

from sparsefield.monitor.expectation import Expectation as Expectation
from sparsefield.monitor.expectation import expected as expected
from sparsefield.monitor.monitor import Monitor as Monitor

__all__ = ["Expectation", "Monitor", "expected"]
