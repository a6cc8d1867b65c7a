"""Sparse execution: a trained model as a callable that skips the zeros of its activations."""

from .engine import Engine as Engine
from .engine import LayerChoice as LayerChoice
from .engine import StaleEngine as StaleEngine
from .engine import accelerate as accelerate
from .rounding import Rounding as Rounding
from .rounding import rounding as rounding
from .saved import load_engine as load_engine
from .saved import save_engine as save_engine
from .training import TrainingEngine as TrainingEngine
