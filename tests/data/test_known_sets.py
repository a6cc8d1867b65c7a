"""The real MNIST and CIFAR-10, where they lie beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sparsefield.data import load

pytestmark = pytest.mark.mnist


def test_mnist(shared_datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEFIELD_DATA", str(shared_datasets))
    data = load("mnist", normalise="none")
    assert data.train_x.shape == (60000, 1, 28, 28)
    assert data.test_x.shape == (10000, 1, 28, 28)
    assert data.classes == 10
    assert float(data.train_x.double().mean()) == pytest.approx(0.1307, abs=5e-5)
    assert float(data.train_x.double().std()) == pytest.approx(0.3081, abs=5e-5)
    assert torch.bincount(data.train_y).tolist()[:3] == [5923, 6742, 5958]
    both = load("mnist")
    assert both.digest == data.digest
    assert both.input_moment == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
def test_cifar10(shared_datasets: Path) -> None:
    data = load(shared_datasets / "cifar10", normalise="channel")
    assert data.train_x.shape == (50000, 3, 32, 32)
    assert data.test_x.shape == (10000, 3, 32, 32)
    assert torch.bincount(data.train_y).tolist() == [5000] * 10
    assert torch.bincount(data.test_y).tolist() == [1000] * 10
    assert data.train_x.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(data.train_x.std((0, 2, 3)), torch.ones(3), rtol=1e-4, atol=0)
