"""The measured column: joules from counters, the idle machine subtracted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from sparsefield.energy.meters import Meter, Reading, find_meter
from sparsefield.errors import InvalidInput

Run = Callable[[], object]
_Busy = tuple[Reading, int]  # of a busy window, and the inferences that were made in it


@dataclass(frozen=True)
class CounterResult:
    """One counter over all windows.

    Attributes
    ----------
    counter
        what it counts, and through which interface.
    idle_watts, busy_watts
        median power of the idle windows and of the busy ones.
    joules_per_inference, lower_quartile, upper_quartile
        median and quartiles over the busy windows, idle subtracted: it may be negative, where the
        run is lost in what the idle machine varies by.
    """

    counter: str
    idle_watts: float
    busy_watts: float
    joules_per_inference: float
    lower_quartile: float
    upper_quartile: float

    @property
    def above_idle(self) -> bool:
        """Whether at least three quarters of the windows took more than the idle machine."""
        return self.lower_quartile > 0.0


@dataclass(frozen=True)
class Measured:
    """What the counters say of one way to run the network.

    Attributes
    ----------
    what
        which run it is.
    absent
        why there is no figure; None if there is one.
    window_seconds, repeats
        length of a window, and number of busy windows.
    seconds_per_inference
        median over the busy windows; None without counters.
    counters
        one result a counter, never added up: some of them contain others.
    """

    what: str
    absent: str | None
    window_seconds: float
    repeats: int
    seconds_per_inference: float | None
    counters: tuple[CounterResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        counters = [{**asdict(each), "above_idle": each.above_idle} for each in self.counters]
        return {**asdict(self), "counters": counters}


def measure(
    run: Run,
    *,
    inferences: int,
    what: str = "model",
    meter: Meter | None = None,
    window_seconds: float = 2.0,
    repeats: int = 5,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Measure the energy of a run by this machine's counters, or say that there are none.

    Idle and busy windows take turns, idle first and last. From each busy window the mean power of
    its two idle neighbours is subtracted, so that a slow drift of the machine cancels. All other
    work on the machine is measured as well: keep it quiet.

    Parameters
    ----------
    run
        called over and over in the busy windows.
    inferences
        samples that one call serves.
    what
        name of the run in the result.
    meter
        counters; by default those that Zeus finds.
    window_seconds
        length of a window. NVML renews its counter every 20 to 100 ms, RAPL every ms.
    repeats
        busy windows, at least 2.
    sleep, clock
        the system's, in seconds.

    Raises
    ------
    InvalidInput
        a window without length, or too few repeats.
    """
    _check(window_seconds, repeats)
    meter = meter or find_meter()
    if meter.absent is not None:
        return Measured(what, meter.absent, window_seconds, repeats, None, ())

    def idle() -> Reading:
        meter.begin()
        sleep(window_seconds)
        return meter.end()

    def busy() -> _Busy:
        meter.begin()
        calls = _calls(run, window_seconds, clock)
        return meter.end(), calls * inferences

    _calls(run, 0.0, clock)  # whatever the first call compiles or allocates
    idle()  # and whatever the first reading starts
    rests, works = [idle()], []
    for _ in range(repeats):
        works.append(busy())
        rests.append(idle())
    seconds = statistics.median(reading.seconds / served for reading, served in works)
    counters = tuple(_counter(name, rests, works) for name in rests[0].joules)
    return Measured(what, None, window_seconds, repeats, seconds, counters)


def _check(window_seconds: float, repeats: int) -> None:
    if not 0.0 < window_seconds < 3600.0:
        raise InvalidInput(f"window {window_seconds:g} s: must be seconds above 0; try 2")
    if repeats < 2:
        raise InvalidInput(f"repeats {repeats}: quartiles need at least 2 windows; try 5")


def _calls(run: Run, seconds: float, clock: Callable[[], float]) -> int:
    """Call ``run`` for so many seconds, at least once; how often it was called."""
    end, calls = clock() + seconds, 0
    while calls == 0 or clock() < end:
        run()
        calls += 1
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return calls


def _counter(name: str, rests: list[Reading], works: list[_Busy]) -> CounterResult:
    joules = []
    for before, (work, served), after in zip(rests, works, rests[1:], strict=False):
        idle_watts = (before.watts(name) + after.watts(name)) / 2
        joules.append((work.joules[name] - idle_watts * work.seconds) / served)
    lower, middle, upper = statistics.quantiles(joules, n=4, method="inclusive")
    return CounterResult(
        counter=name,
        idle_watts=statistics.median(rest.watts(name) for rest in rests),
        busy_watts=statistics.median(work.watts(name) for work, _ in works),
        joules_per_inference=middle,
        lower_quartile=lower,
        upper_quartile=upper,
    )
