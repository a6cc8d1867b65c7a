from dataclasses import replace

import numpy as np
import pytest

from sparsefield.pictures.arms import Arm, read_arms, spread
from sparsefield.pictures.findings import (
    differences,
    effects,
    headline,
    initial_state,
    verdict,
)
from sparsefield.train import TrainConfig


@pytest.fixture
def arm(runs):
    """Make an arm with these test accuracies, one seed each, from a recorded run."""
    run = read_arms(runs)[0].runs[0]

    def make(label, *accuracies, failed=0, **changes):
        config = TrainConfig(**changes)
        made = tuple(
            replace(
                run,
                config=config.model_copy(update={"seed": seed}),
                result=replace(
                    run.result,
                    test_accuracy=accuracy,
                    failed=seed < failed,
                    reason="stuck" if seed < failed else None,
                ),
            )
            for seed, accuracy in enumerate(accuracies)
        )
        return Arm(label, config, made, ())

    return make


def test_the_headline_names_the_best_and_the_failed(arm):
    arms = [
        arm("one", 0.5, 0.6),
        arm("two", 0.8, 0.9, skip=0.9),
        arm("three", 0.1, 0.1, failed=2, init="torch"),
        arm("four", 0.1, 0.1, failed=2, family="relu"),
        arm("five", 0.1, 0.4, failed=1, q=1.0),
    ]
    found = headline(arms)
    assert found.startswith("Best of 5 arms: two, with 85.0 ± 7.1 % test accuracy at ")
    assert found.endswith("Three and four fail in every seed. Five fails in 1 of 2 seeds.")


def test_the_headline_follows_the_data_and_nothing_else(arm):
    skip_loses = [arm("plain", 0.9, 0.9), arm("skip", 0.2, 0.3, skip=0.9)]
    assert headline(skip_loses).startswith("Best of 2 arms: plain")
    assert headline([arm("a", 0.1, failed=1), arm("b", 0.1, failed=1, q=1.0)]) == (
        "Every run of 2 arms failed."
    )


def test_the_headline_of_one_arm(arm):
    assert headline([arm("only", 0.5, 0.6)]).startswith(
        "only: 55.0 ± 7.1 % test accuracy over 2 seeds. Zeros in the hidden layers: "
    )
    assert "1 seed. The run failed: stuck." in headline([arm("only", 0.1, failed=1)])


def test_effects_are_beside_the_arm_with_most_neighbours(arm):
    arms = [
        arm("small", 0.80, 0.82, 0.81, q=0.25),
        arm("large", 0.90, 0.91, 0.92),
        arm("torch", 0.10, 0.10, 0.10, failed=3, init="torch"),
        arm("skip", 0.95, 0.90, 0.94, skip=0.9),
        arm("far", 0.5, 0.5, 0.5, skip=0.5, init="torch"),
    ]
    opening, sentences = effects(arms)
    assert opening.startswith("Beside large, which reaches 91.0 ± 1.0 %")
    assert sentences == [
        "q* = 0.25 in place of q* = 4: −10.0 ± 1.0 points (clearly lower).",
        "PyTorch's default initialisation in place of solved initialisation: "
        "−81.0 ± 1.0 points (clearly lower; 3 of 3 fail).",
        "Skip 0.9 in place of no skip: +2.0 ± 3.0 points (higher in 2 of 3 seeds, "
        "not told apart from no difference).",
    ]


def test_arms_that_differ_in_much_have_no_effects(arm):
    arms = [arm("a", 0.1), arm("b", 0.2, skip=0.5, q=1.0)]
    assert effects(arms) == ("", [])


def test_differences_pair_the_seeds(arm):
    one, other = arm("a", 0.1, 0.5, 0.9), arm("b", 0.2, 0.6, 1.0, q=1.0)
    found = spread(differences(one, other))
    assert found.mean == pytest.approx(0.1)
    assert found.sd == pytest.approx(0.0, abs=1e-12)
    assert differences(one, Arm("none", other.config, (), ())) == []


@pytest.mark.parametrize("sign", [1, -1])
def test_the_verdict_has_its_stated_false_alarm_rate(sign):
    rng = np.random.default_rng(5)
    draws = rng.normal(0.0, 1.0, (2000, 3))
    clear = [verdict(list(sign * row)).startswith("clearly") for row in draws]
    # 5 % of 2000, within four standard deviations of a binomial count
    assert abs(sum(clear) - 100) < 4 * np.sqrt(2000 * 0.05 * 0.95)


def test_the_verdict_sees_a_difference_that_is_there():
    rng = np.random.default_rng(6)
    draws = rng.normal(10.0, 1.0, (200, 3))
    seen = [verdict(list(row)) for row in draws]
    assert seen.count("clearly higher") > 190


def test_one_seed_gives_no_verdict():
    assert verdict([0.5]) == "higher in 1 of 1 seeds, not told apart from no difference"


def test_the_initial_state_of_each_kind_of_start(runs):
    plain, skip, default, unclipped, _ = (initial_state(arm) for arm in read_arms(runs))
    assert "its only fixed point" in plain[0]
    assert "each layer keeps that share of a deviation" in skip[0]
    assert "σ_w² = 1/3" in default[0]
    assert "nothing pulls the variance back" in unclipped[0]
    assert "theory, at infinite width: 1)" in plain[2]
    assert default[2] == "No gradient reaches any layer."
    assert "the target is 70 %" in plain[3]


def test_a_run_without_measurements_says_so(arm):
    run = arm("a", 0.5).runs[0]
    empty = {name: column[:0] for name, column in run.layers.items()}
    bare = Arm("a", run.config, (replace(run, layers=empty),), ())
    assert initial_state(bare) == ["The layers were not measured (monitor_every = 0)."]
