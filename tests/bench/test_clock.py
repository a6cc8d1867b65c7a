"""The clock counts what it should; nothing here depends on how fast the machine is."""

import gc
import time

import torch

from sparsefield.bench import clock
from sparsefield.bench.clock import interleaved

BATCHES = [torch.full((1,), float(index)) for index in range(3)]


class Fake:
    """A clock that only the contenders move."""

    def __init__(self, monkeypatch):
        self.now, self.log = 0.0, []
        monkeypatch.setattr(clock.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(clock.time, "sleep", lambda seconds: self.log.append("pause"))

    def contender(self, name, seconds):
        def call(x):
            self.now += seconds
            self.log.append((name, int(x)))

        return call


def test_seconds_a_call_and_a_value_a_round(monkeypatch):
    fake = Fake(monkeypatch)
    calls = {"a": fake.contender("a", 0.25), "b": fake.contender("b", 0.5)}
    times = interleaved(calls, BATCHES, seconds=30.0)
    # a round is 6 calls of each: 4.5 s; two contenders have 60 s
    assert {name: len(values) for name, values in times.items()} == {"a": 13, "b": 13}
    assert set(times["a"]) == {0.25}
    assert set(times["b"]) == {0.5}


def test_rounds_and_blocks_have_bounds(monkeypatch):
    fake = Fake(monkeypatch)
    slow = interleaved({"a": fake.contender("a", 100.0)}, BATCHES, seconds=1.0)
    assert len(slow["a"]) == 5
    fake.log.clear()
    fast = interleaved({"a": fake.contender("a", 1e-4)}, BATCHES, seconds=1e6)
    assert len(fast["a"]) == 101
    assert fake.log.count("pause") == 101
    assert len(fake.log) == 3 + 101 * (1 + 1 + 40)  # 40 calls fill 4 ms, and one is discarded


def test_a_block_is_a_pause_a_discarded_call_and_then_the_batches_in_turn(monkeypatch):
    fake = Fake(monkeypatch)
    interleaved({"a": fake.contender("a", 1.0)}, BATCHES, seconds=1.0)
    rounds = fake.log[3:]  # the length of a block was found with three calls
    assert rounds[0] == "pause"
    assert rounds[1:7] == [("a", index) for index in (0, 1, 2, 0, 1, 2)]
    assert rounds[7] == "pause"
    assert rounds[8] == ("a", 1)


def test_the_order_changes_and_nobody_is_left_out(monkeypatch):
    fake = Fake(monkeypatch)
    names = ["a", "b", "c"]
    interleaved({name: fake.contender(name, 1.0) for name in names}, BATCHES, seconds=1.0)
    blocks = [fake.log[at + 1][0] for at, entry in enumerate(fake.log) if entry == "pause"]
    orders = [tuple(blocks[at : at + 3]) for at in range(0, len(blocks), 3)]
    assert all(sorted(order) == names for order in orders)
    assert len(set(orders)) > 1


def test_inside_the_clock_inference_mode_is_on_and_collection_off():
    seen = []
    interleaved(
        {"a": lambda x: seen.append((torch.is_inference_mode_enabled(), gc.isenabled()))},
        BATCHES,
        seconds=1e-3,
    )
    assert set(seen) == {(True, False)}
    assert gc.isenabled()


def test_the_real_clock_sees_a_sleep():
    times = interleaved({"a": lambda x: time.sleep(0.001)}, BATCHES, seconds=0.01)
    assert min(times["a"]) >= 0.001  # a sleep is never shorter
