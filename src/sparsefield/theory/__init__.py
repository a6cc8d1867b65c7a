"""The science: exact maps, fixed points and the inverse problem. numpy and scipy only."""

from .certificate import Certificate as Certificate
from .certificate import certify as certify
from .certificate import certify_map as certify_map
from .certificate import largest_unique_clip as largest_unique_clip
from .critical import solve as solve
from .design import safe_clip as safe_clip
from .design import typical_chi1 as typical_chi1
from .edge import edge_of_chaos as edge_of_chaos
from .finite_width import FiniteWidth as FiniteWidth
from .finite_width import finite_width as finite_width
from .fixed_points import FixedPoint as FixedPoint
from .gradients import gradient_rates as gradient_rates
from .maps import CorrelationMap as CorrelationMap
from .maps import VarianceMap as VarianceMap
from .operator import TransferOperator as TransferOperator
from .operator import escape_probability as escape_probability
from .phase import Axis as Axis
from .phase import PhaseDiagram as PhaseDiagram
from .phase import phase_diagram as phase_diagram
from .piecewise import PiecewiseLinear as PiecewiseLinear
from .point import CriticalPoint as CriticalPoint
from .roots import NotConverged as NotConverged
from .smooth import PiecewiseSmooth as PiecewiseSmooth
from .unsolvable import MultipleFixedPoints as MultipleFixedPoints
from .unsolvable import NegativeBiasVariance as NegativeBiasVariance
from .unsolvable import Unstable as Unstable
