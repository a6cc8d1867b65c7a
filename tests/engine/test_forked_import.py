"""A child that loads the kernels only after the fork; test_forking has those that had them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sparsefield.engine.native import kernels

pytestmark = pytest.mark.skipif(kernels() is None, reason="built without the kernels")

AFTER_FORK = """
import os, signal, torch
from torch import nn
torch.set_num_threads(2)
(torch.randn(600, 600) @ torch.randn(600, 600)).relu().sum()  # starts the pool of OpenMP threads
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    os._exit(0 if status == 0 else 1)
signal.alarm(60)  # a child that waits for threads that are not there
from sparsefield.engine.plan import Plan
from sparsefield.engine.parts import parts_of
from sparsefield.engine.runner import Runner
model = nn.Sequential(nn.Linear(99, 200), nn.ReLU(), nn.Linear(200, 70)).eval()
runner = Runner(parts_of(model)[0], "float32", 2)
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


def test_a_child_that_loads_the_kernels_does_not_wait_for_the_pool_of_its_parent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AFTER_FORK], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
