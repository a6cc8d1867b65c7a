"""Ray beside a package amdsmi (which Zeus brings) on a machine that has no ROCm.

Ray 2.60 asks amdsmi for GPUs in each of its processes, and takes nothing but an ImportError for
"none here"; amdsmi 7.0 raises a KeyError where its library is missing.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

# On PYTHONPATH, it has processes find amdsmi.py of this folder before the one that is installed.
FOLDER = Path(__file__).parent


def amdsmi_breaks() -> bool:
    """Whether amdsmi is installed and raises anything but an ImportError."""
    try:
        with redirect_stdout(io.StringIO()):  # amdsmi prints there what it does not find
            importlib.import_module("amdsmi")
    except ImportError:
        return False
    except Exception:
        return True
    return False


@contextmanager
def without_amdsmi() -> Iterator[None]:
    """Where amdsmi breaks, this process and those that it starts meanwhile find none."""
    if not amdsmi_breaks():
        yield
        return
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(FOLDER), before]))
    sys.modules["amdsmi"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["amdsmi"]
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
