"""The kernels on several threads: images of one pixel, and after a fork."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from sparsefield import accelerate
from sparsefield.engine.native import kernels

pytestmark = pytest.mark.skipif(kernels() is None, reason="built without the kernels")

AFTER_FORK = """
import os, signal, torch
from torch import nn
{before}
torch.set_num_threads(2)
(torch.randn(600, 600) @ torch.randn(600, 600)).relu().sum()  # starts the pool of OpenMP threads
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    os._exit(0 if status == 0 else 1)
signal.alarm(60)  # a child that waits for threads that are not there
from sparsefield.engine.plan import Plan
from sparsefield.engine.reading import read
from sparsefield.engine.runner import Runner
model = nn.Sequential(nn.Linear(99, 200), nn.ReLU(), nn.Linear(200, 70)).eval()
runner = Runner(read(model)[0], "float32", 2)
runner.plans = (Plan(5, "together", crossover=(2.0, 2.0), dense=(1, 1)),)
x = torch.zeros(5, 99)
x[:, ::7] = 1.0
with torch.no_grad():
    y = runner(x)
torch.set_num_threads(1)
with torch.no_grad():
    good = torch.allclose(y, model(x), rtol=1e-5, atol=1e-5)
os._exit(0 if good else 1)
"""


@pytest.mark.parametrize("before", ["", "import sparsefield.engine._native"])
def test_a_forked_child_runs_though_its_parent_used_the_pool(before: str) -> None:
    code = AFTER_FORK.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_threads_that_share_images_of_one_pixel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(33, 200, 1), nn.ReLU(), nn.Conv2d(200, 170, 1), nn.ReLU(), nn.Conv2d(170, 90, 1)
    ).eval()
    x = torch.randn(4, 33, 1, 1)
    engine = accelerate(model, x, dispatch="sparse")
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for runner in engine.runners:
            runner.plans = tuple(replace(plan, how="together") for plan in runner.plans)
        got = [engine(x) for _ in range(20)]
    finally:
        torch.set_num_threads(threads)
    with torch.no_grad():
        wanted = model(x)
    for y in got:
        torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-5)
