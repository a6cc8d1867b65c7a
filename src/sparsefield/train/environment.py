"""What made a run: versions and hardware, without names of hosts or paths."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
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


@cache
def commit() -> str | None:
    """The commit of the source tree this package runs from, ``-dirty`` if its code has changes.

    None where the package does not lie in its repository, or git is not there to ask.
    """
    source = Path(__file__).parents[1]
    if source.parent.name != "src":  # installed into some environment inside another repository
        return None
    head = _git(source, "rev-parse", "HEAD")
    changed = _git(source, "status", "--porcelain", "--untracked-files=no", ".")
    return head and head + ("-dirty" if changed else "")


def _git(folder: Path, *arguments: str) -> str | None:
    # without the lock of the index: a commit of the user's, made beside, would fail at it
    call = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


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
