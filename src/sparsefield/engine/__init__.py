"""Sparse execution: a trained model as a callable that skips the zeros of its activations."""

from .engine import Engine as Engine
from .engine import LayerChoice as LayerChoice
from .engine import StaleEngine as StaleEngine
from .engine import accelerate as accelerate
