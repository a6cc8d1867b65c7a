import numpy as np
import pytest

from sparsefield.pictures.arms import Arm, read_arms
from sparsefield.pictures.prediction import (
    at_start,
    fixed_points,
    gradient_profile,
    layer_map,
)
from sparsefield.train import read_run, train


@pytest.fixture
def arm_of(config, tmp_path):
    """Train one seed of a config; its arm."""

    def make(**changes):
        chosen = config(**changes)
        train(chosen, out=tmp_path / "run", progress=False)
        return read_arms(tmp_path / "run")[0]

    return make


def test_the_map_is_the_one_that_the_record_follows(runs):
    for arm in read_arms(runs):
        q = at_start(arm.runs[0], "q_theory")
        np.testing.assert_allclose(layer_map(arm.config)(q[:-1]), q[1:], rtol=1e-12)


def test_a_map_of_another_skip_is_caught(runs):
    arm = read_arms(runs / "c-default")[0]
    q = at_start(arm.runs[0], "q_theory")
    assert not np.allclose(layer_map(arm.config, skip=0.5)(q[:-1]), q[1:], rtol=1e-3)


def test_fixed_points_of_each_kind(config):
    def kinds(**changes):
        arm = Arm("", config(sparsity=0.9, **changes), ())
        return [point.kind for point in fixed_points(arm)]

    assert kinds(clip=1.0) == ["stable"]
    assert kinds(clip=2.0) == ["stable", "repels", "stable"]
    assert kinds(family="relu") == ["marginal"]


def test_the_fixed_point_of_the_default_is_where_its_variance_ends(arm_of):
    arm = arm_of(init="torch", sparsity=0.9, depth=12)
    (point,) = fixed_points(arm)
    assert layer_map(arm.config)(point.q) == pytest.approx(point.q, rel=1e-6)
    assert abs(point.slope) < 1


def test_at_the_edge_the_gradient_stays_level(runs):
    plain, skipped, *_ = read_arms(runs)
    np.testing.assert_allclose(gradient_profile(plain), 1.0)
    np.testing.assert_allclose(gradient_profile(skipped), 1.0)


def test_off_the_edge_it_changes_by_the_root_of_chi1_a_layer(arm_of):
    profile = gradient_profile(arm_of(chi1=1.21, clip=0.5))
    np.testing.assert_allclose(profile, [1.21, 1.1, 1.0], rtol=1e-6)


def test_a_strided_layer_spreads_its_gradient_over_four_times_the_pixels(arm_of):
    arm = arm_of(network="cnn", width=8, strides=[1], steps=1)
    np.testing.assert_allclose(gradient_profile(arm), [0.5, 1.0, 1.0], rtol=1e-6)


@pytest.mark.slow
def test_measured_gradients_follow_the_profile(arm_of):
    arm = arm_of(network="cnn", width=128, strides=[2], depth=4, skip=0.5, steps=1, sparsity=0.5)
    measured = at_start(arm.runs[0], "grad_rms")
    np.testing.assert_allclose(measured / measured[-1], gradient_profile(arm), rtol=0.25)


def test_a_run_without_measurements(arm_of):
    arm = arm_of(monitor_every=0)
    assert len(at_start(arm.runs[0], "q")) == len(gradient_profile(arm)) == 0
    assert fixed_points(arm)


def test_measurements_at_the_start_are_those_of_step_0(runs):
    run = read_run(runs / "a-plain" / "seed-0")
    assert len(run.layers["q"]) > 3
    assert list(at_start(run, "layer")) == [0, 1, 2]
