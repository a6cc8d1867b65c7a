"""The measured column: against a machine of known power, and against Zeus itself."""

import json
import threading
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from sparsefield.energy import NoMeter, Reading, find_meter, measure
from sparsefield.energy.meters import ZeusMeter
from sparsefield.errors import InvalidInput


class Machine:
    """A made-up machine: a clock, an idle power that may drift, and joules for each call."""

    absent = None

    def __init__(self, joules_per_call, *, idle_watts=30.0, drift=0.0, noise=()):
        self.now, self.used = 0.0, 0.0
        self.joules_per_call, self.idle_watts, self.drift = joules_per_call, idle_watts, drift
        self.noise = list(noise)
        self.windows = []

    def pass_time(self, seconds):
        start, self.now = self.now, self.now + seconds
        self.used += self.idle_watts * seconds
        self.used += self.drift * (self.now**2 - start**2) / 2

    def clock(self):
        return self.now

    def run(self):
        self.pass_time(0.25)
        self.used += self.joules_per_call + (self.noise.pop() if self.noise else 0.0)

    def begin(self):
        self.windows.append((self.now, self.used))

    def end(self):
        since, used = self.windows[-1]
        return Reading(self.now - since, {"meter": self.used - used})

    def measured(self, **changes):
        given = {"inferences": 4, "window_seconds": 2.0, "repeats": 5, **changes}
        return measure(self.run, meter=self, sleep=self.pass_time, clock=self.clock, **given)


@pytest.mark.parametrize("idle_watts", [0.0, 30.0, 5000.0])
def test_what_a_call_takes_whatever_the_idle_machine_takes(idle_watts):
    found = Machine(2.0, idle_watts=idle_watts).measured()
    (counter,) = found.counters
    assert counter.joules_per_inference == pytest.approx(0.5)
    assert counter.idle_watts == pytest.approx(idle_watts)
    assert counter.busy_watts == pytest.approx(idle_watts + 8.0)  # four calls a second, 2 J each
    assert found.seconds_per_inference == pytest.approx(0.25 / 4)
    assert counter.above_idle


def test_a_steady_drift_of_the_machine_cancels():
    (counter,) = Machine(2.0, drift=0.7).measured().counters
    assert counter.joules_per_inference == pytest.approx(0.5)


def test_without_the_subtraction_it_would_be_wrong():
    """The twin: the busy power alone gives another answer, so the check above can fail."""
    (counter,) = Machine(2.0).measured().counters
    not_subtracted = counter.busy_watts * 0.25 / 4
    assert not_subtracted != pytest.approx(counter.joules_per_inference, rel=0.5)


def test_a_call_that_takes_nothing_is_not_told_apart_from_idle():
    (counter,) = Machine(0.0).measured().counters
    assert counter.joules_per_inference == pytest.approx(0.0)
    assert not counter.above_idle


def test_median_and_quartiles_over_the_windows():
    # one call before, then eight calls a window; each window's calls take 0, 1, 2, 3, 4 J more
    noise = [extra for extra in (4, 3, 2, 1, 0) for _ in range(8)] + [0]
    (counter,) = Machine(4.0, noise=noise).measured(inferences=1).counters
    assert counter.joules_per_inference == pytest.approx(6.0)
    assert (counter.lower_quartile, counter.upper_quartile) == pytest.approx((5.0, 7.0))


def test_idle_and_busy_windows_take_turns():
    machine = Machine(1.0)
    machine.measured(repeats=3)
    assert len(machine.windows) == 2 + 2 * 3  # one idle window is thrown away
    assert all(b - a == 2.0 for (a, _), (b, _) in pairwise(machine.windows[1:]))


def test_a_slow_run_is_called_once_a_window():
    found = Machine(1.0).measured(window_seconds=0.1)
    assert found.counters[0].joules_per_inference == pytest.approx(0.25)


def test_no_counter_no_figure():
    calls = []
    found = measure(lambda: calls.append(1), inferences=1, meter=NoMeter("no such thing"))
    assert found.absent == "not measurable on this machine: no such thing"
    assert found.seconds_per_inference is None
    assert found.counters == ()
    assert calls == []
    assert json.loads(json.dumps(found.to_dict()))["absent"] == found.absent
    assert NoMeter("x").end() == Reading(0.0, {})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"window_seconds": 0.0}, "window 0 s"),
        ({"window_seconds": float("nan")}, "window nan s"),
        ({"repeats": 1}, "repeats 1"),
    ],
)
def test_bad_windows(changes, says):
    with pytest.raises(InvalidInput, match=says):
        Machine(1.0).measured(**changes)


def test_a_missing_extra_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zeus.monitor", None)
    assert "pip install 'sparsefield[energy]'" in find_meter().absent


def test_counters_are_named_and_not_added_up():
    files = [SimpleNamespace(rapl_file=SimpleNamespace(name=n)) for n in ("package-0", "psys")]
    monitor = SimpleNamespace(
        cpus=SimpleNamespace(cpus=files),
        begin_window=lambda *_, **__: None,
        end_window=lambda *_, **__: SimpleNamespace(
            time=2.0, gpu_energy={0: 9.0}, cpu_energy={0: 5.0, 1: 7.0}, dram_energy={0: 1.0}
        ),
    )
    reading = ZeusMeter(monitor).end()
    assert reading.joules == {
        "GPU 0 (NVML)": 9.0,
        "CPU 0 (package-0, RAPL)": 5.0,
        "CPU 1 (psys, RAPL)": 7.0,
        "CPU 0 (DRAM, RAPL)": 1.0,
    }


# --- Zeus itself, on a made-up /sys/class/powercap


class Powercap:
    """Files of a package and its memory, as the kernel has them; in microjoules."""

    def __init__(self, folder: Path):
        self.zones = {"package-0": folder / "intel-rapl:0"}
        self.zones["dram"] = self.zones["package-0"] / "intel-rapl:0:0"
        for name, zone in self.zones.items():
            zone.mkdir(parents=True)
            (zone / "name").write_text(name)
            (zone / "max_energy_range_uj").write_text("262143328850")
            (zone / "energy_uj").write_text("1000000")
        self.lock = threading.Lock()

    def use(self, name, joules):
        with self.lock:
            file = self.zones[name] / "energy_uj"
            file.write_text(str(int(file.read_text()) + round(1e6 * joules)))


@pytest.fixture
def rapl(monkeypatch, tmp_path):
    """Zeus's RAPL module, which reads a made-up tree; no process watches for wrapping around."""
    pytest.importorskip("zeus", reason="the energy extra is not installed")
    import zeus.device.cpu as cpu
    from zeus.device.cpu import rapl

    monkeypatch.setattr(rapl, "RAPL_DIR", str(tmp_path / "rapl"))
    monkeypatch.setattr(rapl, "CONTAINER_RAPL_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(cpu, "_cpus", None)
    still = SimpleNamespace(get_num_wraparounds=lambda: 0)
    monkeypatch.setattr(rapl.RAPLFile, "wraparound_tracker", still)
    rapl.rapl_is_available.cache_clear()
    yield rapl
    rapl.rapl_is_available.cache_clear()


def test_joules_through_zeus(rapl, tmp_path):
    powercap = Powercap(tmp_path / "rapl")

    def run():
        powercap.use("package-0", 3.0)
        powercap.use("dram", 0.5)

    ticks = iter(range(10**6))
    meter = find_meter()
    assert meter.absent is None
    found = measure(
        run,
        inferences=2,
        meter=meter,
        window_seconds=4.0,  # of a clock that strikes a second a call
        repeats=3,
        sleep=lambda _: None,
        clock=lambda: float(next(ticks)),
    )
    by_name = {c.counter: c.joules_per_inference for c in found.counters}
    assert by_name["CPU 0 (package-0, RAPL)"] == pytest.approx(1.5)
    assert by_name["CPU 0 (DRAM, RAPL)"] == pytest.approx(0.25)


def test_a_machine_without_counters(rapl):
    if (found := find_meter()).absent is None:
        pytest.skip("this machine has a GPU with counters")
    assert found.absent.startswith("not measurable on this machine: no GPU")
    assert "no RAPL" in found.absent


def test_counters_that_may_not_be_read(rapl, tmp_path, monkeypatch):
    Powercap(tmp_path / "rapl")
    monkeypatch.setattr(rapl.RAPLCPUs, "_init_cpus", refuse(rapl))
    if (found := find_meter()).absent is None:
        pytest.skip("this machine has a GPU with counters")
    assert "may not be read by this user" in found.absent


def refuse(rapl):
    def init(self):
        raise rapl.cpu_common.ZeusCPUNoPermissionError("only root")

    return init
