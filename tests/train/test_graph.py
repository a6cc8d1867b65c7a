"""A step as a CUDA graph, where there is CUDA."""

import pytest
import torch

from sparsefield.train.graph import graphed

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def test_on_a_cpu_the_step_is_left_as_it_is():
    def step():
        raise AssertionError

    assert graphed(step, [torch.zeros(2)]) is step


@gpu
def test_a_graph_does_what_the_step_does():
    x, y = torch.ones(4, device="cuda"), torch.zeros(4, device="cuda")

    def step():
        torch.mul(x, 2.0, out=y)

    replay = graphed(step, [y])
    x.fill_(3.0)
    replay()
    assert replay is not step
    assert y.tolist() == [6.0] * 4


@gpu
def test_a_step_that_asks_the_host_is_left_as_it_is():
    y = torch.zeros(4, device="cuda")

    def step():
        y.fill_(float(y.sum().item()) + 1.0)

    assert graphed(step, [y]) is step
