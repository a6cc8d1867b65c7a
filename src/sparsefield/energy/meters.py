"""Energy counters of this machine, through Zeus; where there is none, a meter that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sparsefield.errors import MissingExtra, require

NOT_MEASURABLE = "not measurable on this machine"
_WINDOW = "sparsefield"


@dataclass(frozen=True)
class Reading:
    """What the counters moved by in one window.

    Attributes
    ----------
    seconds
        length of the window.
    joules
        by the name of the counter.
    """

    seconds: float
    joules: Mapping[str, float]

    def watts(self, counter: str) -> float:
        """Mean power of the window."""
        return self.joules[counter] / self.seconds


class Meter(Protocol):
    """Anything that reads energy counters over a window."""

    @property
    def absent(self) -> str | None:
        """Why nothing can be measured; None if something can."""

    def begin(self) -> None:
        """Open a window."""

    def end(self) -> Reading:
        """Close it."""


class NoMeter:
    """The meter of a machine without counters: it reads nothing, and says why.

    >>> NoMeter("no RAPL").absent
    'not measurable on this machine: no RAPL'
    """

    def __init__(self, reason: str) -> None:
        self.absent: str | None = f"{NOT_MEASURABLE}: {reason}"

    def begin(self) -> None:
        """Nothing to open."""

    def end(self) -> Reading:
        """A reading of no counter."""
        return Reading(0.0, {})


class ZeusMeter:
    """NVML counters of the GPUs and RAPL counters of CPU packages and their memory.

    Where Zeus has to watch a RAPL counter for wrapping around, it starts a helper process, so a
    script that measures needs the usual ``if __name__ == "__main__":``.
    """

    absent: str | None = None

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor

    def begin(self) -> None:
        """Open a window; what was given to a GPU must have finished."""
        self._monitor.begin_window(_WINDOW, sync_execution=False, restart=True)

    def end(self) -> Reading:
        """Close it."""
        seen = self._monitor.end_window(_WINDOW, sync_execution=False)
        joules = {f"GPU {index} (NVML)": energy for index, energy in seen.gpu_energy.items()}
        for index, energy in (seen.cpu_energy or {}).items():
            joules[f"CPU {index} ({self._zone(index)}, RAPL)"] = energy
        for index, energy in (seen.dram_energy or {}).items():
            joules[f"CPU {index} (DRAM, RAPL)"] = energy
        return Reading(seen.time, joules)

    def _zone(self, index: int) -> str:
        """The kernel's name: package-0, or psys for the platform, which holds the package too."""
        file = getattr(self._monitor.cpus.cpus[index], "rapl_file", None)
        return str(getattr(file, "name", "package"))


def find_meter() -> Meter:
    """The counters of this machine, or a :class:`NoMeter` with the reason."""
    try:
        zeus: Any = require("zeus.monitor", "energy")
    except MissingExtra as error:
        return NoMeter(str(error))
    errors: Any = require("zeus.exception", "energy")
    try:
        monitor = zeus.ZeusMonitor()
    except (errors.ZeusBaseError, OSError) as error:
        return NoMeter(f"Zeus found counters and cannot read them ({error})")
    if not monitor.gpu_indices and not monitor.cpu_indices:
        return NoMeter(_why_none())
    return ZeusMeter(monitor)


def _why_none() -> str:
    rapl: Any = require("zeus.device.cpu.rapl", "energy")
    if rapl.rapl_is_available():
        return "no GPU with NVML, and RAPL may not be read by this user (it needs root, or zeusd)"
    return "no GPU with NVML and no RAPL in /sys/class/powercap (a virtual machine has none)"
