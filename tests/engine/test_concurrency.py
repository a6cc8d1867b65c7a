"""Several Python threads may call one engine at once, or several, and change PyTorch's threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from sparsefield.engine import accelerate

from .models import MODELS, batch_for

CALLERS, ROUNDS = 8, 8
NAMES = ["dnn with a skip", "cnn, circular, with a skip"]


def at_once(*tasks):
    """Run the tasks at once, from the same moment, and raise what one of them raises."""
    gate = threading.Barrier(len(tasks))

    def started(task):
        gate.wait(timeout=30)
        task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        for done in [pool.submit(started, task) for task in tasks]:
            done.result(timeout=60)


def with_how(engine, how):
    """The engine, its layers sparse and its threads used like this."""
    for runner in engine.runners:
        runner.plans = tuple(replace(plan, how=how) for plan in runner.plans)
    return engine


def near(out, expected):
    assert out.shape == expected.shape
    return not len(out) or (out - expected).abs().max() <= 1e-5 * expected.abs().max()


def asking(engine, model, name, seed):
    """A task: calls with batches of its own, each answer compared with the model's."""
    batches = [(seed * 5 + turn) % 23 for turn in range(4)]
    given = [batch_for(name, batch, seed=seed + batch + 1) for batch in batches]
    with torch.no_grad():
        expected = [model(x) for x in given]

    def task():
        for turn in range(ROUNDS):
            x, y = given[turn % 4], expected[turn % 4]
            assert near(engine(x), y)

    return task


def test_a_wrong_answer_is_heard():
    model = MODELS["dnn"]()
    engine = accelerate(model, batch_for("dnn", 20))
    task = asking(lambda x: engine(x) + 1e-3, model, "dnn", 1)
    with pytest.raises(AssertionError):
        at_once(task, asking(engine, model, "dnn", 2))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("how", ["together", "apart", "alone"])
@pytest.mark.parametrize("name", NAMES)
def test_one_engine_from_eight_threads(name, how):
    model = MODELS[name]()
    engine = with_how(accelerate(model, batch_for(name, 20), dispatch="sparse"), how)
    at_once(*(asking(engine, model, name, seed) for seed in range(CALLERS)))


@pytest.mark.usefixtures("two_threads")
def test_dense_and_sparse_layers_from_eight_threads():
    model = MODELS["dnn"]()
    choice = {"layers.1": "dense", "layers.2": "sparse", "head": "dense"}
    engine = accelerate(model, batch_for("dnn", 20), dispatch=choice)
    at_once(*(asking(engine, model, "dnn", seed) for seed in range(CALLERS)))


@pytest.mark.usefixtures("two_threads")
def test_several_engines_at_once():
    tasks = []
    for seed, name in enumerate(NAMES * 2):
        model = MODELS[name]()
        engine = with_how(accelerate(model, batch_for(name, 20), dispatch="sparse"), "together")
        tasks += [asking(engine, model, name, 2 * seed), asking(engine, model, name, 2 * seed + 1)]
    at_once(*tasks)


def test_engines_made_at_once():
    made = {}

    def making(seed):
        def task():
            made[seed] = accelerate(models[seed], x)

        return task

    models, x = {seed: MODELS["dnn"]() for seed in range(4)}, batch_for("dnn", 5)
    at_once(*(making(seed) for seed in models))
    for seed, model in models.items():
        assert near(made[seed](x), model(x).detach())


@pytest.mark.parametrize("how", ["together", "apart"])
@pytest.mark.parametrize("name", NAMES)
def test_another_number_of_threads_than_it_was_made_with(name, how):
    model, x = MODELS[name](), batch_for(name, 20)
    torch.set_num_threads(2)
    engine = with_how(accelerate(model, x, dispatch="sparse"), how)
    expected = model(x).detach()
    for threads in (1, 2, 3, 5, 1):
        torch.set_num_threads(threads)
        assert engine.threads == threads
        for _ in range(3):
            assert near(engine(x), expected)
