"""Measuring makes sane plans, and the choice follows the densities that calls meet."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from sparsefield.engine import accelerate, dispatch
from sparsefield.engine.native import kernels
from sparsefield.engine.plan import ROWS, SPARSE, TORCH
from sparsefield.nn import ShiftedReLU

from .models import MODELS, batch_for, dnn, drawn

WAYS = {SPARSE, ROWS, TORCH}
SECONDS = dispatch.seconds  # the tests' is brief


def near(engine, model, x):
    expected = model(x).detach()
    return bool((engine(x) - expected).abs().max() <= 1e-5 * expected.abs().max())


ON_TWO = ("dnn", "relu", "cnn with a skip", "pooling and flatten")


@pytest.mark.parametrize(("name", "threads"), [(n, 1) for n in MODELS] + [(n, 2) for n in ON_TWO])
def test_plans_are_sane(name, threads):
    torch.set_num_threads(threads)
    engine = accelerate(MODELS[name]().eval(), batch_for(name, 12))
    for runner in engine.runners:
        depth = len(runner.chain.products)
        assert [plan.batch for plan in runner.plans] == [1, 12]
        for plan in runner.plans:
            assert plan.how == "alone" or threads > 1
            assert plan.how != "apart" or plan.batch > 1
            assert len(plan.crossover) == len(plan.dense) == depth
            assert all(0.0 <= crossover <= 2.0 for crossover in plan.crossover)
            assert set(plan.dense) <= WAYS
        assert ((runner.density >= 0.0) & (runner.density <= 1.0)).all()


def test_densities_are_those_of_the_sample():
    model, x = dnn(depth=2), batch_for("dnn", 20)
    engine = accelerate(model, x)
    first = model.layers[0](x)
    second = model.layers[1](model.activations[0](first))
    read = [x, model.activations[0](first), model.activations[1](second)]
    expected = [float((y != 0).float().mean()) for y in read]
    assert engine.runners[0].density.tolist() == pytest.approx(expected, abs=1e-3)


def test_equal_layers_are_measured_once(monkeypatch):
    crossover, calls = dispatch._crossover, []

    def counted(runner, index, h, how):
        calls.append(index)
        return crossover(runner, index, h, how)

    monkeypatch.setattr(dispatch, "_crossover", counted)
    accelerate(dnn(depth=30, width=20), batch_for("dnn", 4), batches=[4])
    assert calls == [0, 1, 30]  # the input, one of the hidden, the head


def timed(monkeypatch, seconds_of):
    """Let a way's time be what is said of it, by the names of the function and its arguments."""

    def seconds(calls, budget=0.0):
        return {key: seconds_of(call) for key, call in calls.items()}

    monkeypatch.setattr(dispatch, "seconds", seconds)
    monkeypatch.setattr(dispatch, "_fastest_whole", lambda runner, x, plan: plan)


def test_the_crossover_is_where_the_times_cross(monkeypatch):
    def sloped(call):
        if call.func is not dispatch._one:
            return 1.0
        _, _, h, way, _ = call.args
        return float((h > 0).float().mean()) if way == SPARSE else 0.3

    timed(monkeypatch, sloped)
    model = drawn(nn.Linear(37, 5000), ShiftedReLU(0.0), nn.Linear(5000, 7))
    engine = accelerate(model, batch_for("dnn", 20), batches=[20])
    assert engine.layers[1].crossover == pytest.approx(0.3, abs=0.02)


def test_no_crossover_where_sparse_always_wins(monkeypatch):
    def always(call):
        return 1.0 if call.func is dispatch._one and call.args[3] != SPARSE else 0.1

    timed(monkeypatch, always)
    engine = accelerate(dnn(), batch_for("dnn", 20))
    assert all(layer.crossover > 1.0 and layer.runs == "sparse" for layer in engine.layers)


def test_dense_wins_are_taken_as_dense(monkeypatch):
    def never(call):
        return 0.1 if call.func is dispatch._one and call.args[3] != SPARSE else 1.0

    timed(monkeypatch, never)
    model, x = dnn(), batch_for("dnn", 20)
    engine = accelerate(model, x)
    assert all(layer.runs != "sparse" for layer in engine.layers)
    assert near(engine, model, x)


def switching(crossover, dense):
    """An engine whose layers become dense at one density, by one way; its model."""
    model = drawn(nn.Linear(37, 50), nn.ReLU(), nn.Linear(50, 60), nn.ReLU(), nn.Linear(60, 7))
    engine = accelerate(model, torch.zeros(8, 37))
    for runner in engine.runners:
        depth = len(runner.chain.products)
        runner.plans = tuple(
            replace(plan, crossover=(crossover,) * depth, dense=(dense,) * depth)
            for plan in runner.plans
        )
    return engine, model


@pytest.mark.parametrize("dense", [pytest.param(ROWS, id="rows"), pytest.param(TORCH, id="torch")])
@pytest.mark.parametrize("batch", [1, 8, 40])
def test_the_density_seen_decides_how_the_next_calls_run(dense, batch):
    if dense == ROWS and kernels() is None:
        pytest.skip("built without a compiler")
    engine, model = switching(0.9, dense)
    few = torch.zeros(batch, 37)
    few[:, :3] = 1.0
    many, runs = torch.ones(batch, 37), {ROWS: "rows", TORCH: "torch"}[dense]
    for x, after in ((few, "sparse"), (many, runs), (few, "sparse")):
        # small batches and PyTorch's layers are looked at once in a while
        for _ in range(1 if batch > 20 and x is many else 40):
            assert near(engine, model, x)
        assert engine.layers[0].runs == after


def test_batches_that_change_all_the_time():
    engine, model = switching(0.5, TORCH)
    for turn in range(60):
        x = torch.zeros(1 + turn % 9, 37)
        x[:, : turn * 7 % 38] = 1.0 - turn % 3
        assert near(engine, model, x)


class Clock:
    """Calls that take as long as is said of them, and a clock that they move."""

    def __init__(self, monkeypatch, **taken):
        self.now, self.taken = 0.0, taken
        self.noisy, self.until = "", 0.0  # it takes ten times as long until then
        monkeypatch.setattr(dispatch, "perf_counter", lambda: self.now)

    def calls(self):
        return {name: partial(self.call, name) for name in self.taken}

    def call(self, name):
        slow = name == self.noisy and self.now < self.until
        self.now += self.taken[name] * (10.0 if slow else 1.0)


@pytest.mark.parametrize("scale", [1e-4, 1e-2], ids=["many calls a round", "one call a round"])
def test_a_noisy_moment_changes_no_time(monkeypatch, scale):
    clock = Clock(monkeypatch, fast=scale, slow=1.5 * scale)
    # the first round, and the calls before that are not counted
    clock.noisy, clock.until = "fast", max(4e-3, 11.6 * scale)
    taken = SECONDS(clock.calls())
    assert taken == pytest.approx({"fast": scale, "slow": 1.5 * scale})
    assert dispatch._kept("slow", taken) == "fast"


def test_noise_that_stays_is_seen(monkeypatch):
    clock = Clock(monkeypatch, fast=1e-2, slow=1.5e-2)
    clock.noisy, clock.until = "fast", 1e3
    taken = SECONDS(clock.calls())
    assert taken["fast"] == pytest.approx(1e-1)
    assert dispatch._kept("fast", taken) == "slow"


def test_measuring_takes_its_time_and_no_more(monkeypatch):
    clock = Clock(monkeypatch, a=1e-4, b=1e-5, c=3e-3)
    SECONDS(clock.calls(), 0.02)
    assert 0.06 <= clock.now <= 1.2 * 0.06 + 0.02  # a budget for each, and a round begun


def test_the_expected_way_is_kept_unless_clearly_beaten():
    assert dispatch._kept("together", {"together": 1.03, "apart": 1.0}) == "together"
    assert dispatch._kept("together", {"together": 1.2, "apart": 1.0}) == "apart"
    assert dispatch._kept("together", {"together": 0.5, "apart": 1.0}) == "together"


@pytest.mark.parametrize(("apart", "how"), [(0.98, "together"), (0.7, "apart"), (1.3, "together")])
def test_the_way_that_the_threads_go(monkeypatch, two_threads, apart, how):
    times = {"alone": 2.0, "together": 1.0, "apart": apart}

    def by_how(call):
        return times[call.args[1].how] if call.func is not dispatch._one else 1.0

    timed(monkeypatch, by_how)
    if kernels() is None:
        pytest.skip("built without a compiler")
    model = drawn(*[nn.Linear(500, 500) for _ in range(3)])
    engine = accelerate(model, torch.ones(64, 500), batches=[64])
    assert engine.runners[0].plans[0].how == how


def test_backend_says_what_there_is():
    module = kernels()
    expected = f"native {module.instruction_sets()[0]}" if module else "embedding_bag"
    assert dispatch.backend().startswith(expected)
