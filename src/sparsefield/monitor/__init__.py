"""What a network does while it trains, beside what theory says of it at initialisation."""

from sparsefield.monitor.expectation import Expectation as Expectation
from sparsefield.monitor.expectation import expected as expected
from sparsefield.monitor.hooks import Monitor as Monitor
from sparsefield.monitor.layers import activation_modules as activation_modules

__all__ = ["Expectation", "Monitor", "activation_modules", "expected"]
