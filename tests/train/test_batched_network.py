"""Losses and gradients written out by hand, against autograd on each member alone."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from sparsefield.train import TrainConfig
from sparsefield.train.batched_network import BatchedDNN
from sparsefield.train.network import Shape, build
from sparsefield.train.rows import Layout, adopt

MEMBERS, BATCH, SHAPE = 3, 16, Shape(12, 5)
SKIPS = {"plain": (0.0, 0.0, 0.0), "skip": (0.5, 0.9, 0.98)}
TOLERANCE = 2e-5  # of the largest gradient; seen: 3e-7


def configs(family="crelu", skips=(0.0, 0.0, 0.0), depth=4):
    return [
        TrainConfig(
            family=family,
            depth=depth,
            width=20,
            sparsity=0.6 + 0.1 * member,
            q=1.0 + member,
            skip=skips[member],
            seed=member,
        )
        for member in range(MEMBERS)
    ]


class Both:
    """The same members twice: in rows, and alone."""

    def __init__(self, runs):
        self.alone = [build(run, SHAPE) for run in runs]
        models = [build(run, SHAPE) for run in runs]
        self.layout = Layout(models[0])
        self.rows = torch.zeros(MEMBERS, self.layout.size)
        self.gradients = torch.full_like(self.rows, 0.0)
        for model, row, gradient in zip(models, self.rows, self.gradients, strict=True):
            adopt(model, self.layout, row, gradient)
        self.network = BatchedDNN(models, self.layout, self.rows, self.gradients, BATCH)
        generator = torch.Generator().manual_seed(0)
        self.network.images.normal_(generator=generator)
        self.network.labels.random_(0, SHAPE.classes, generator=generator)

    def errors(self):
        """Of each member: its loss's relative error, and its gradients' over the largest."""
        self.network.step()
        return [self._errors(index, model) for index, model in enumerate(self.alone)]

    def _errors(self, index, model):
        network = self.network
        loss = cross_entropy(model(network.images[index]), network.labels[index])
        expected = torch.autograd.grad(loss, list(model.parameters()))
        own = [self.layout.view(self.gradients[index], name) for name in self.layout.places]
        largest = max(
            float((a - b).abs().max() / b.abs().max()) for a, b in zip(own, expected, strict=True)
        )
        return max(float(abs(network.losses[index] / loss.detach() - 1)), largest)


@pytest.mark.parametrize("skips", SKIPS)
@pytest.mark.parametrize("family", ["crelu", "cst", "relu", "st"])
def test_losses_and_gradients_are_those_of_each_member_alone(family, skips):
    both = Both(configs(family, SKIPS[skips]))
    assert max(both.errors()) < TOLERANCE
    assert max(both.errors()) < TOLERANCE  # a second step begins from nothing


def test_a_single_layer():
    assert max(Both(configs(depth=1)).errors()) < TOLERANCE


@pytest.mark.parametrize("change", ["weight", "skip", "m"])
def test_something_wrong_in_one_member_is_noticed_there_only(change):
    both = Both(configs("crelu", SKIPS["skip"]))
    wrong = both.alone[1]
    if change == "weight":
        with torch.no_grad():
            wrong.layers[2].weight[0, 0] += 0.01
    elif change == "skip":
        wrong.skip += 0.01
    else:
        for phi in wrong.activations:
            phi.m *= 0.98
    first, second, third = both.errors()
    assert second > 10 * TOLERANCE
    assert max(first, third) < TOLERANCE


def test_a_member_that_is_not_finite_leaves_the_others_as_they_are():
    sound, broken = Both(configs("relu")), Both(configs("relu"))
    sound.network.step()
    broken.rows[1].fill_(torch.nan)
    broken.network.step()
    assert torch.isnan(broken.network.losses[1])
    for member in (0, 2):
        assert torch.equal(broken.network.losses[member], sound.network.losses[member])
        assert torch.equal(broken.gradients[member], sound.gradients[member])
