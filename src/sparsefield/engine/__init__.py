"""Sparse execution: a trained model as a callable that skips the zeros of its activations."""

from .accelerating import accelerate as accelerate
from .anymodel import Accelerated as Accelerated
from .engine import Engine as Engine
from .layer_choice import LayerChoice as LayerChoice
from .rounding import Rounding as Rounding
from .rounding import rounding as rounding
from .saved import load_engine as load_engine
from .saved import save_engine as save_engine
from .staleness import StaleEngine as StaleEngine
from .training import TrainingEngine as TrainingEngine
from .training_any import AcceleratedTraining as AcceleratedTraining
