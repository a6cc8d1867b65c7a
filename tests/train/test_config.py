import subprocess
import sys

import pytest
import tyro
from pydantic import ValidationError

from sparsefield.errors import InvalidInput, SparsefieldError
from sparsefield.train import TrainConfig


def test_the_default_config_is_valid_and_frozen():
    config = TrainConfig()
    assert (config.data, config.depth, config.sparsity) == ("digits", 30, 0.9)
    with pytest.raises(ValidationError):
        config.depth = 3


def test_every_field_has_a_description():
    assert all(field.description for field in TrainConfig.model_fields.values())


def test_the_config_needs_no_torch():
    code = (
        "import sys; from sparsefield.train import TrainConfig, load_config\n"
        "assert load_config().point().tau == TrainConfig().point().tau\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"depth": 0},
            r"^depth=0: should be greater than or equal to 1; depth is: number",
        ),
        ({"sparsity": 1.0}, r"^sparsity=1.0: should be less than 1; sparsity is: share"),
        ({"sparsity": float("nan")}, r"^sparsity=nan: should be a finite number"),
        ({"q": -1}, r"^q=-1: should be greater than 0"),
        ({"family": "gelu"}, r"^family='gelu': should be 'crelu', 'cst', 'relu', 'st' or 'topk'"),
        ({"depth": "deep"}, r"^depth='deep': should be a valid integer"),
        ({"depth": 2.5}, r"^depth=2.5: should be a valid integer"),
        ({"seed": True}, r"^seed=True: should not be true or false"),
        ({"data": 3}, r"^data=3: should be a valid string"),
        ({"sparcity": 0.9}, r"^unknown key 'sparcity': .* did you mean 'sparsity'\?$"),
        ({"depth": 0, "width": 0}, r"\(and 1 more\)$"),
        ({"clip": 1.0, "m": 2.0}, r"^clip=1 and m=2: each .* give only one of them$"),
        ({"m": 1.0, "slope": 0.5}, r"^m=1 and slope=0.5"),
        (
            {"family": "relu", "clip": 1.0},
            r"^clip=1 with family=relu: .* leave clip out",
        ),
        ({"family": "topk", "clip": 1.0}, r"^clip=1 with family=topk: .* leave clip out"),
        ({"family": "topk", "m": 1.0}, r"^m=1 with family=topk: .* leave m out"),
        ({"family": "topk", "slope": 0.5}, r"^slope=0.5 with family=topk: .* leave slope out"),
        ({"family": "topk", "chi1": 1.1}, r"^chi1=1.1 with family=topk: .* leave chi1 out$"),
        ({"family": "topk", "chi1": "typical"}, r"^chi1=typical with family=topk"),
        ({"penalty": "l1"}, r"^penalty=l1 without penalty_weight: .* give penalty_weight"),
        ({"penalty_weight": 0.1}, r"^penalty_weight=0.1 with penalty=none: .* choose penalty l1"),
        ({"penalty": "l1", "penalty_weight": -1}, r"^penalty_weight=-1: should be greater than"),
        ({"penalty": "l2", "penalty_weight": 1}, r"^penalty='l2': should be 'none', 'l1' or"),
        ({"strides": [1]}, r"^strides=\[1\] with network=dnn: .* choose network cnn$"),
        ({"network": "cnn", "strides": [30]}, r"^strides=\[30\]: must be .* between 0 and 29"),
        ({"network": "cnn", "strides": [1, 1]}, r"^strides=\[1, 1\]: .* each strided layer once$"),
        ({"weights": "delta"}, r"^weights=delta with network=dnn: .* choose orthogonal"),
    ],
)
def test_a_broken_rule_is_one_line_with_value_rule_and_remedy(values, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        TrainConfig(**values)
    assert "\n" not in str(caught.value)


def test_yaml_style_numbers_are_read():
    assert TrainConfig(lr="1e-3").lr == 1e-3  # PyYAML reads 1e-3 as a string


@pytest.mark.parametrize("family", ["crelu", "cst"])
def test_a_clipped_family_gets_the_default_clip_when_none_is_given(family):
    config = TrainConfig(family=family)
    assert config.clip is None
    assert config.resolved().clip == 1.1
    assert config.point().clip == pytest.approx(1.1)


def test_m_or_slope_takes_the_place_of_the_clip():
    assert TrainConfig(m=3.0).resolved().clip is None
    assert TrainConfig(m=3.0).point().m == pytest.approx(3.0)
    assert TrainConfig(slope=0.7).point().slope == pytest.approx(0.7)


@pytest.mark.parametrize("family", ["relu", "st"])
def test_an_unclipped_family_needs_no_clip(family):
    config = TrainConfig(family=family, sparsity=0.8)
    assert config.resolved().clip is None
    assert config.point().m is None


def test_topk_keeps_the_variance_at_its_own_width():
    config = TrainConfig(family="topk", sparsity=0.8, q=2.0, width=50)
    assert config.resolved() == config.model_copy(update={"lr": config.resolved().lr})
    point = config.point()
    assert (point.q, point.width, point.share) == (2.0, 50, 0.2)
    assert float(point.variance_map(skip=0.9)(2.0)) == pytest.approx(2.0)


def test_plain_relu_is_he():
    point = TrainConfig(family="relu", sparsity=0.5, q=1.0).point()
    assert (point.tau, point.sigma_b2) == (0.0, 0.0)
    assert point.sigma_w2 == pytest.approx(2.0)


def test_the_learning_rate_follows_the_optimiser():
    rates = {kind: TrainConfig(optimizer=kind).resolved().lr for kind in ("sgd", "adam", "adamw")}
    assert all(rate > 0 for rate in rates.values())
    assert TrainConfig(lr=0.5).resolved().lr == 0.5


def test_resolving_twice_changes_nothing():
    once = TrainConfig().resolved()
    assert once.resolved() == once


def test_an_impossible_point_is_the_error_of_solve():
    with pytest.raises(SparsefieldError, match="slope"):
        TrainConfig(slope=1.5).point()


def test_the_command_line_is_built_from_the_config():
    flags = ["--network", "cnn", "--strides", "1", "3", "--m", "2.5"]
    config = tyro.cli(TrainConfig, args=flags, default=TrainConfig(depth=7))
    assert (config.network, config.strides, config.m, config.depth) == ("cnn", (1, 3), 2.5, 7)
