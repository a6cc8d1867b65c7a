import pytest

from sparsefield.errors import InvalidInput
from sparsefield.studies.thresholding import thresholded
from sparsefield.train import TrainConfig, read_run, train


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A dense network that has learnt the digits."""
    out = tmp_path_factory.mktemp("thresholding") / "dense"
    small = {"depth": 3, "width": 64, "epochs": 8, "batch": 64, "threads": 1, "device": "cpu"}
    run = TrainConfig(**small, family="relu", sparsity=0.5, lr=3e-3)
    assert train(run, out=out, progress=False).test_accuracy > 0.9
    return out


def test_accuracy_and_zeros_by_level(dense):
    levels = [0.0, 0.7, 0.9, 0.98]
    found = thresholded(dense, levels)
    assert [level for level, _, _ in found] == levels
    whole = read_run(dense).result
    assert (found[0].accuracy, found[0].sparsity) == (
        whole.test_accuracy,
        whole.sparsity_per_layer,
    )
    shares = [row.sparsity_mean for row in found]
    assert shares == sorted(set(shares))
    assert found[1].accuracy > found[0].accuracy - 0.1
    assert found[3].accuracy < found[1].accuracy  # thresholds are not free


def test_a_level_that_is_met_changes_nothing(dense):
    as_trained, low = thresholded(dense, [0.0, 0.01])
    assert as_trained[1:] == low[1:]


def test_another_run_is_one_line(runs):
    with pytest.raises(InvalidInput, match="family crelu"):
        thresholded(runs / "a-plain" / "seed-0", [0.9])
