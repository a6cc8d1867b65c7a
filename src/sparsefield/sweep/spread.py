"""Mean and standard deviation over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n - 1; NaN for a single value) of ``n`` values."""

    mean: float
    sd: float
    n: int

    def percent(self) -> str:
        """The values, shares of 1, in per cent.

        >>> Spread(0.886, 0.0231, 3).percent()
        '88.6 ± 2.3 %'
        """
        return f"{self.show(100.0)} %"

    def show(self, scale: float = 1.0, digits: int = 1) -> str:
        """Mean ± sd with ``digits`` decimals; the mean alone where there is one value."""
        mean = f"{scale * self.mean:.{digits}f}"
        return mean if math.isnan(self.sd) else f"{mean} ± {scale * self.sd:.{digits}f}"


def spread(values: Iterable[float]) -> Spread:
    """Mean and standard deviation of at least one value.

    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, sd=1.0, n=3)
    """
    found = np.array(list(values), dtype=float)
    sd = float(found.std(ddof=1)) if len(found) > 1 else math.nan
    return Spread(float(found.mean()), sd, len(found))
