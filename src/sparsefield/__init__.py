"""sparsefield: deep networks whose hidden activations are mostly exact zeros, and train.

Public names load on first use, so that the theory costs no import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data import load as load
    from .engine import Engine as Engine
    from .engine import accelerate as accelerate
    from .monitor import Monitor as Monitor
    from .nn import CNN as CNN
    from .nn import CST as CST
    from .nn import DNN as DNN
    from .nn import CReLU as CReLU
    from .nn import FATReLU as FATReLU
    from .nn import Hold as Hold
    from .nn import ShiftedReLU as ShiftedReLU
    from .nn import Skip as Skip
    from .nn import SoftThreshold as SoftThreshold
    from .nn import activation as activation
    from .nn import drop_dead_ as drop_dead_
    from .nn import init_ as init_
    from .nn import sparsify_ as sparsify_
    from .nn import threshold_ as threshold_
    from .theory import CriticalPoint as CriticalPoint
    from .theory import PiecewiseSmooth as PiecewiseSmooth
    from .theory import certify as certify
    from .theory import finite_width as finite_width
    from .theory import phase_diagram as phase_diagram
    from .theory import solve as solve
    from .train import TrainConfig as TrainConfig
    from .train import read_run as read_run

__version__ = "0.1.0"

_ROOMS = (
    *("bench", "data", "energy", "engine", "errors", "monitor", "nn", "pictures", "studies"),
    *("sweep", "theory", "train", "watch"),
)
_ROOM_OF = {
    "CNN": "nn",
    "CReLU": "nn",
    "CST": "nn",
    "CriticalPoint": "theory",
    "DNN": "nn",
    "Engine": "engine",
    "FATReLU": "nn",
    "Hold": "nn",
    "Monitor": "monitor",
    "PiecewiseSmooth": "theory",
    "ShiftedReLU": "nn",
    "Skip": "nn",
    "SoftThreshold": "nn",
    "TrainConfig": "train",
    "accelerate": "engine",
    "activation": "nn",
    "certify": "theory",
    "drop_dead_": "nn",
    "finite_width": "theory",
    "init_": "nn",
    "load": "data",
    "phase_diagram": "theory",
    "read_run": "train",
    "solve": "theory",
    "sparsify_": "nn",
    "threshold_": "nn",
}
__all__ = ["__version__", *_ROOM_OF]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
