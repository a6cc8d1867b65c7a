"""The figures of runs: what the curves are made of, and that every mark can be seen and read."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from sparsefield.pictures.overview import overview
from sparsefield.pictures.plotting import looks
from sparsefield.pictures.runs import read_arms
from sparsefield.pictures.training import (
    at_start,
    curves,
    gradient_profile,
    loss_by_step,
    profiles,
)
from sparsefield.studies import Arm
from sparsefield.train import read_run, train


def recorded(run, steps, losses):
    metrics = {"step": np.array(steps), "loss": np.array(losses, dtype=float)}
    return replace(run, metrics={**run.metrics, **metrics})


@pytest.fixture
def run(runs):
    """A finished run, to give another record."""
    return read_run(runs / "a-plain" / "seed-0")


def test_the_last_row_of_one_batch_is_no_spike(run):
    steps, losses = loss_by_step(recorded(run, [50, 100, 150, 151], [4.0, 2.0, 1.0, 9.0]))
    assert steps.tolist() == [50, 100, 151]
    assert losses.tolist() == pytest.approx([4.0, 2.0, (50 * 1.0 + 9.0) / 51])


def test_joined_rows_keep_the_mean_over_all_steps(run):
    rng = np.random.default_rng(0)
    counts = np.where(rng.random(40) < 0.3, 3, 50)
    raw = rng.normal(2.0, 0.3, 40)
    steps, losses = loss_by_step(recorded(run, np.cumsum(counts), raw))
    assert len(steps) < 40
    lengths = np.diff(steps, prepend=0)
    assert lengths.min() >= 25 or steps[0] == 3
    assert (lengths * losses).sum() == pytest.approx((counts * raw).sum())


def test_rows_of_equal_length_stay_as_they_are(run):
    steps, losses = loss_by_step(recorded(run, [10, 20, 30], [3.0, 2.0, 5.0]))
    assert (steps.tolist(), losses.tolist()) == ([10, 20, 30], [3.0, 2.0, 5.0])


def test_a_loss_that_was_never_finite_has_no_points(run):
    steps, losses = loss_by_step(recorded(run, [10], [np.nan]))
    assert len(steps) == len(losses) == 0


def drawn(axes):
    """Lines that show something: marks, or two points and more."""
    return [
        line
        for line in axes.lines
        if np.isfinite(line.get_ydata()).sum() > (line.get_marker() == "None")
    ]


def test_one_evaluation_is_a_point_that_can_be_seen(config, tmp_path):
    train(config(steps=5), out=tmp_path / "run", progress=False)
    loss, accuracy = curves(read_arms(tmp_path / "run")).axes
    assert drawn(loss)
    assert drawn(accuracy)
    assert {line.get_marker() for line in accuracy.lines} == {".", "D"}


def test_more_than_two_points_are_a_line(runs):
    *_, gradient = profiles(read_arms(runs / "a-plain")).axes
    assert {line.get_marker() for line in gradient.lines} == {"None"}


def inside(figure):
    """Whether all that is drawn lies on the page."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return (
        box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= width + 0.01 and box.y1 <= height + 0.01
    )


@pytest.mark.parametrize("draw", [overview, curves, profiles])
@pytest.mark.parametrize("folder", ["", "b-skip/seed-0"])
def test_nothing_is_cut_off(runs, draw, folder):
    assert inside(draw(read_arms(runs / folder)))


def test_the_check_for_cuts_can_fail(runs):
    figure = curves(read_arms(runs / "a-plain"))
    figure.text(0.99, 0.5, "longer than the room that is left for it")
    assert not inside(figure)


def test_the_overview_shows_the_zeros_at_the_end(runs):
    arms = read_arms(runs)
    figure = overview(arms)
    accuracy, zeros, _ = figure.axes
    ends = [
        [100 * arm.mean(name).estimate for name in ("zeros_init", "zeros_end")]
        for arm in arms.values()
    ]
    assert [text.get_text() for text in zeros.texts] == [f"{a:.1f} → {b:.1f}" for a, b in ends]
    failed = [text.get_text().split("\n")[-1] for text in accuracy.texts]
    assert failed[-1] == "1 of 1 failed"
    drawn = [line.get_xdata()[0] for line in zeros.lines if line.get_marker() == "o"]
    assert {x for pair in ends for x in pair} <= set(drawn)


@pytest.mark.parametrize("draw", [curves, profiles])
def test_every_arm_is_in_the_key_with_its_look(runs, draw):
    arms = read_arms(runs)
    figure = draw(arms)
    (key,) = figure.legends
    assert [text.get_text() for text in key.texts] == list(arms)
    colours = [line.get_color() for line in key.legend_handles]
    assert colours == [look.colour for look in looks(len(arms))]
    used = {line.get_color() for axes in figure.axes for line in axes.lines}
    assert set(colours) <= used


def test_the_overview_draws_the_interval_of_the_mean(runs):
    name, arm = next(iter(read_arms(runs).items()))
    accuracy = overview({name: arm}).axes[0]
    (bars,) = [
        made for made in accuracy.containers if made.get_label().startswith("_") and len(made) == 3
    ]
    (segment,) = bars[2][0].get_segments()
    assert segment[:, 0] == pytest.approx([100 * arm.mean().low, 100 * arm.mean().high])


def test_an_arm_without_measurements_has_no_line(runs, run):
    empty = {name: column[:0] for name, column in run.layers.items()}
    (arm,) = read_arms(runs / "a-plain").values()
    bare = Arm.of([replace(arm.rows[0], run=replace(run, layers=empty))])
    *_, gradient = profiles({"bare": bare}).axes
    assert not drawn(gradient)


@pytest.fixture
def run_of(config, tmp_path):
    """Train one seed of a config."""

    def make(**changes):
        train(config(**changes), out=tmp_path / "run", progress=False)
        return read_run(tmp_path / "run")

    return make


def test_at_the_edge_the_gradient_stays_level(runs):
    for folder in ("a-plain", "b-skip"):
        np.testing.assert_allclose(gradient_profile(read_run(runs / folder / "seed-0")), 1.0)


def test_off_the_edge_it_changes_by_the_root_of_chi1_a_layer(run_of):
    profile = gradient_profile(run_of(chi1=1.21, clip=0.5))
    np.testing.assert_allclose(profile, [1.21, 1.1, 1.0], rtol=1e-6)


def test_a_strided_layer_spreads_its_gradient_over_four_times_the_pixels(run_of):
    run = run_of(network="cnn", width=8, strides=[1], steps=1)
    np.testing.assert_allclose(gradient_profile(run), [0.5, 1.0, 1.0], rtol=1e-6)


@pytest.mark.slow
def test_measured_gradients_follow_the_profile(run_of):
    run = run_of(network="cnn", width=128, strides=[2], depth=4, skip=0.5, steps=1, sparsity=0.5)
    measured = at_start(run, "grad_rms")
    np.testing.assert_allclose(measured / measured[-1], gradient_profile(run), rtol=0.25)


def test_a_run_without_measurements(run_of):
    run = run_of(monitor_every=0)
    assert len(at_start(run, "q")) == len(gradient_profile(run)) == 0


def test_measurements_at_the_start_are_those_of_step_0(run):
    assert len(run.layers["q"]) > 3
    assert list(at_start(run, "layer")) == [0, 1, 2]
