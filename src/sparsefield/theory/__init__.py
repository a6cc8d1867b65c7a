"""The science: exact maps, fixed points and the inverse problem. numpy and scipy only."""

from .critical import CriticalPoint as CriticalPoint
from .critical import NegativeBiasVariance as NegativeBiasVariance
from .critical import Unstable as Unstable
from .critical import solve as solve
from .finite_width import FiniteWidth as FiniteWidth
from .finite_width import finite_width as finite_width
from .fixed_points import FixedPoint as FixedPoint
from .maps import VarianceMap as VarianceMap
from .piecewise import PiecewiseLinear as PiecewiseLinear
from .roots import NotConverged as NotConverged
