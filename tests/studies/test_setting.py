"""The line that says what the runs of a record were."""

from dataclasses import replace

from sparsefield.studies.setting import setting

ONE = {"data": "mnist", "depth": 20, "width": 200, "steps": 1000, "batch": 128}
RATES = (1e-3, 3e-3, 1e-2)


def fine(config, seed):
    return {"test_accuracy": 0.5}


def test_one_network_at_chosen_rates(invented):
    arms = [{**ONE, "q": q, "lr": lr} for q in (1.0, 4.0) for lr in RATES]
    assert setting(invented(arms, fine, seeds=4)) == (
        "MNIST; 20 hidden layers of 200 units; CReLU; Adam, batches of 128, 1000 steps; "
        "learning rate chosen of 3; 4 seeds."
    )
    told = setting(invented(arms, fine, tuned=()))  # the twin: the same rates, none chosen
    assert "; learning rate one an arm, 0.001 to 0.01; 3 seeds." in told
    assert "; learning rate 0.001; " in setting(invented(arms[::3], fine))


def test_fields_chosen_together_are_counted_together(invented):
    choices = ({"q": 1.0, "clip": 1.1}, {"q": 4.0, "clip": 1.1}, {"q": 4.0, "clip": 0.6})
    for rates, said in (
        (RATES, "learning rate, q* and clip chosen of 9 combinations; "),
        (RATES[:1], "learning rate 0.001, q* and clip chosen of 3 combinations; "),
    ):
        arms = [{**ONE, **choice, "lr": lr} for choice in choices for lr in rates]
        assert said in setting(invented(arms, fine, tuned=("lr", "q", "clip")))


def test_what_varies_is_a_range_or_two_values(invented):
    arms = [
        {**ONE, "data": "digits", "family": family, "depth": depth, "width": width}
        for family, width in (("crelu", 100), ("st", 300))
        for depth in (5, 30, 100)
    ]
    told = setting(invented(arms, fine))
    assert "digits; 5 to 100 hidden layers of 100 or 300 units; CReLU, soft threshold;" in told


def test_penalties_convolutions_and_epochs_are_named(invented):
    arm = {"family": "relu", "sparsity": 0.5, "penalty": "l1", "penalty_weight": 1.0}
    told = setting(invented([{**arm, "network": "cnn", "optimizer": "sgd", "epochs": 3}], fine))
    assert "channels (convolutional); dense ReLU with L1 penalty; SGD, " in told
    assert ", 3 epochs; " in told


def test_a_part_that_differs_is_named(invented):
    usual = invented([{**ONE, "q": q, "lr": lr} for q in (1.0, 4.0) for lr in RATES], fine)
    longer = invented([{**ONE, "steps": 1500, "lr": 3e-4}], fine, seeds=2)
    parts = {"a": usual, "b": usual, "wide": longer}
    rows = [replace(row, part=part) for part, record in parts.items() for row in record.rows]
    told = setting(replace(usual, rows=tuple(rows)))
    assert "Adam, batches of 128, 1000 steps (part wide: 1500 steps); " in told
    assert "learning rate chosen of 3 (part wide: 0.0003); 3 seeds (part wide: 2 seeds)." in told
    assert "part" not in setting(usual)
