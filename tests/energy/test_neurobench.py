"""NeuroBench itself, on the same models and data: the same sparsity, the same MACs.

NeuroBench (Yik et al., Nature Communications 2025) is told of this library's activations by its own
``add_activation_module``; without that it sees only ReLU and Sigmoid. It adds up in the dtype of
the model, so that totals above 2^24 a layer and batch are rounded in float32; the comparison is in
float64, where its sums are exact, and then has no tolerance. The end of the file holds where the
two part on purpose.
"""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import sparsefield as sf
from sparsefield.energy import count

pytest.importorskip("neurobench", reason="the neurobench extra is not installed")
pytest.importorskip("snntorch", reason="neurobench needs snntorch")

POINT = sf.solve("crelu", sparsity=0.9, q=4.0, clip=1.1)
TWO_SIDED = sf.solve("cst", sparsity=0.8, q=4.0, clip=1.1)


def neurobench(model, data, batch, *, also=sf.nn.Activation):
    """What NeuroBench's own benchmark says: sparsity, effective MACs and ACs, dense operations."""
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel

    wrapped = TorchModel(copy.deepcopy(model))
    if also is not None:
        wrapped.add_activation_module(also)
    loader = DataLoader(TensorDataset(data, torch.zeros(len(data))), batch_size=batch)
    metrics = [[], [ActivationSparsity, SynapticOperations]]
    results = Benchmark(wrapped, loader, [], [], metrics).run(quiet=True)
    return results["ActivationSparsity"], results["SynapticOperations"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(channels=1, size=8, samples=20):
    return torch.randn(samples, channels, size, size, generator=seeded(7)).double()


def filled(model, x):
    """Lazy layers made, some weights cut to zero, all in double."""
    model(x[:2].float())
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            with torch.no_grad():
                module.weight[torch.rand(module.weight.shape, generator=seeded(3)) < 0.2] = 0.0
    return model.double()


def convolutions():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=2, dilation=2, padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv2d(8, 8, (3, 2), stride=2, groups=4, padding=1, padding_mode="replicate"),
        sf.nn.SoftThreshold(0.1),
        nn.Conv2d(8, 4, 3, padding="same"),
        nn.Sigmoid(),
        nn.Conv2d(4, 4, 2, padding="valid", bias=False),
        nn.Flatten(2),
        nn.Conv1d(4, 6, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(10),
    )


MODELS = {
    "dnn": lambda: sf.DNN(64, 50, 8, 10, POINT, generator=seeded()),
    "dnn with skip": lambda: sf.DNN(64, 50, 8, 10, TWO_SIDED, skip=0.9, generator=seeded()),
    "cnn, circular": lambda: sf.CNN(1, 12, 4, 10, POINT, strides=(2,), generator=seeded()),
    "cnn, zeros, skip": lambda: sf.CNN(
        1, 12, 4, 10, TWO_SIDED, padding="zeros", skip=0.5, strides=(1,), generator=seeded()
    ),
    "other convolutions": convolutions,
}


@pytest.mark.parametrize("batch", [1, 7, 20])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_the_same_counts_to_the_last_product(make, batch):
    data = images()
    model = filled(make(), data)
    counted = count(model, data, batch=batch)
    sparsity, operations = neurobench(model, data, batch)
    assert counted.activation_sparsity == pytest.approx(sparsity, rel=1e-13)
    assert counted.effective_macs == operations["Effective_MACs"] > 0
    assert counted.effective_acs == operations["Effective_ACs"] == 0
    assert counted.dense_macs == operations["Dense"]
    assert counted.effective_macs < 0.9 * counted.dense_macs


def test_the_same_on_real_data():
    pytest.importorskip("sklearn")
    data = sf.load("digits").test_x[:128].double()
    model = sf.DNN(64, 300, 10, 10, POINT, generator=seeded()).double()
    sparsity, operations = neurobench(model, data, 32)
    counted = count(model, data, batch=32)
    assert counted.activation_sparsity == pytest.approx(sparsity, rel=1e-13)
    assert (counted.effective_macs, counted.dense_macs) == (
        operations["Effective_MACs"],
        operations["Dense"],
    )


def test_inputs_of_signs_are_accumulates_in_both():
    data = (images() > 0.8).double()
    model = MODELS["dnn"]().double()
    _, operations = neurobench(model, data, 5)
    counted = count(model, data, batch=5)
    assert counted.effective_acs == operations["Effective_ACs"] > 0
    assert counted.effective_macs == operations["Effective_MACs"] > 0


def test_the_comparison_can_fail():
    """The twin: one weight more or another padding, and the two no longer agree."""
    data, model = images(), MODELS["cnn, circular"]().double()
    _, operations = neurobench(model, data, 5)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.layers[1].weight[0, 0, 0, 0] = 0.0
    assert count(changed, data, batch=5).effective_macs != operations["Effective_MACs"]
    padded = copy.deepcopy(model)
    padded.layers[1].padding_mode = "zeros"
    assert count(padded, data, batch=5).dense_macs != operations["Dense"]


# --- where the two part


def test_neurobench_sees_no_activation_that_it_was_not_told_of():
    data, model = images(), MODELS["dnn"]().double()
    sparsity, operations = neurobench(model, data, 5, also=None)
    assert sparsity == 0.0  # and not 0.9
    assert operations["Effective_MACs"] == count(model, data, batch=5).effective_macs


def test_neurobench_rounds_in_float32():
    size = 4097  # its square is odd, and above 2^24
    model, data = nn.Sequential(nn.Linear(size, 1)), torch.full((size, size), 2.0)
    _, operations = neurobench(model, data, size)
    assert count(model, data, batch=size).dense_macs == size
    assert operations["Dense"] != size
    assert operations["Dense"] == pytest.approx(size, rel=1e-7)


def test_neurobench_counts_inputs_after_what_overwrote_them():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.next = nn.Linear(64, 20), nn.Linear(20, 5)

        def forward(self, x):
            with torch.no_grad():
                h = F.relu(self.layer(x.flatten(1)))
                y = self.next(h)
                h += 1.0  # no zeros any more, too late for the layer
                return y

    data, model = images(), InPlace().double()
    _, operations = neurobench(model, data, 5)
    counted = count(model, data, batch=5)
    assert operations["Effective_MACs"] == counted.dense_macs
    assert counted.effective_macs < 0.98 * counted.dense_macs


def test_neurobench_counts_a_layer_again_for_each_parent():
    shared = nn.Linear(64, 64)
    model = nn.Sequential(
        nn.Flatten(), nn.Sequential(shared, nn.ReLU()), nn.Sequential(shared, nn.ReLU())
    ).double()
    data = images()
    with torch.no_grad():  # with gradients it fails inside, says so, and goes on with a part
        _, operations = neurobench(model, data, 5)
    counted = count(model, data, batch=5)
    assert counted.dense_macs == 2 * 64 * 64  # it is called twice
    assert operations["Dense"] == 2 * counted.dense_macs


def test_neurobench_does_not_look_at_a_model_that_is_one_layer():
    data, model = images().flatten(1), nn.Linear(64, 3).double()
    _, operations = neurobench(model, data, 5)
    assert operations["Dense"] == 0
    assert count(model, data).dense_macs == 3 * 64
