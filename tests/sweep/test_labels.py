from sparsefield.sweep.labels import labels, phrase
from sparsefield.train import TrainConfig


def test_labels_name_what_sets_the_arms_apart():
    configs = [
        TrainConfig(q=0.25),
        TrainConfig(),
        TrainConfig(family="relu"),
        TrainConfig(init="torch"),
        TrainConfig(skip=0.9),
        TrainConfig(family="cst", sparsity=0.8),
    ]
    assert labels(configs) == [
        "CReLU, q* = 0.25",
        "CReLU, q* = 4",
        "shifted ReLU, q* = 4",
        "CReLU, PyTorch's default initialisation",
        "CReLU, q* = 4, skip 0.9",
        "CST, q* = 4, s = 0.8",
    ]


def test_rivals_are_named():
    configs = [
        TrainConfig(family="topk"),
        TrainConfig(family="relu", sparsity=0.5),
        TrainConfig(family="relu", sparsity=0.5, penalty="l1", penalty_weight=0.1),
        TrainConfig(family="relu", sparsity=0.5, penalty="hoyer", penalty_weight=0.5),
    ]
    assert labels(configs) == [
        "top-k, q* = 4, s = 0.9",
        "dense ReLU, q* = 4",
        "dense ReLU, q* = 4, L1 penalty, penalty weight 0.1",
        "dense ReLU, q* = 4, Hoyer penalty, penalty weight 0.5",
    ]


def test_labels_are_never_shared():
    same = [TrainConfig(), TrainConfig(clip=1.1), TrainConfig(m=2.2)]
    assert len(set(labels(same))) == 3


def test_the_dense_twin_is_called_so():
    assert labels([TrainConfig(), TrainConfig(family="relu", sparsity=0.5)])[1].startswith(
        "dense ReLU"
    )


def test_one_config_is_called_by_its_activation():
    assert labels([TrainConfig(seed=3)]) == ["CReLU, q* = 4"]


def test_phrases():
    assert phrase("skip", 0.0) == "no skip"
    assert phrase("init", "eoc") == "solved initialisation"
    assert phrase("penalty", "none") == "no penalty"
