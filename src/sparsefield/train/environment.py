"""What made a run: versions and hardware, without names of hosts or paths."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy
import torch


def versions() -> dict[str, str]:
    """Versions of python, torch, numpy and sparsefield."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "sparsefield": _own_version(),
    }


def hardware(processes: int = 1, device: torch.device | None = None) -> dict[str, Any]:
    """CPU model, cores this process may use, threads in use, processes, and the GPU in use."""
    on_gpu = device is not None and device.type == "cuda"
    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
    }


def _own_version() -> str:
    try:
        return version("sparsefield")
    except PackageNotFoundError:
        return "source tree"


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
