"""Rivals side by side in one run: the same model, inputs and threads, one clock."""

from .contenders import Contender as Contender
from .contenders import prepare as prepare
from .making import Absent as Absent
from .result import BenchResult as BenchResult
from .result import Cell as Cell
from .result import Row as Row
from .rivals import RIVALS as RIVALS
from .rivals import Rival as Rival
from .rivals import named_rivals as named_rivals
from .run import bench as bench
from .shapes import Shape as Shape
from .shapes import named_shape as named_shape
