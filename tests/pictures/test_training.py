"""The figures of runs: what the curves are made of, and that every mark can be seen and read."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from sparsefield.pictures import training
from sparsefield.pictures.arms import Arm, read_arms
from sparsefield.pictures.picture import overview
from sparsefield.pictures.training import loss_by_step
from sparsefield.train import train


def recorded(run, steps, losses):
    metrics = {"step": np.array(steps), "loss": np.array(losses, dtype=float)}
    return replace(run, metrics={**run.metrics, **metrics})


@pytest.fixture
def run(runs):
    """A finished run, to give another record."""
    return read_arms(runs / "a-plain")[0].runs[0]


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
    loss, accuracy = training.curves(read_arms(tmp_path / "run")).axes
    assert drawn(loss)
    assert drawn(accuracy)
    assert {line.get_marker() for line in accuracy.lines} == {".", "D"}


def test_more_than_two_points_are_a_line(runs):
    *_, gradient = training.depth_profiles(read_arms(runs / "a-plain")).axes
    assert {line.get_marker() for line in gradient.lines} == {"None"}


def test_fixed_points_are_drawn_as_what_they_are(runs):
    figure = training.variance_maps(read_arms(runs))
    fills = {
        (line.get_fillstyle())
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() == "o" and len(line.get_xdata()) == 1
    }
    assert {"full", "left"} <= fills
    assert "fixed point: marginal" in [text.get_text() for text in figure.legends[0].texts]


def inside(figure):
    """Whether all that is drawn lies on the page."""
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return (
        box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= width + 0.01 and box.y1 <= height + 0.01
    )


@pytest.mark.parametrize(
    "draw", [training.variance_maps, training.curves, training.zeros, training.depth_profiles]
)
@pytest.mark.parametrize("folder", ["", "b-skip/seed-0"])
def test_nothing_is_cut_off(runs, draw, folder):
    assert inside(draw(read_arms(runs / folder)))


def test_the_check_for_cuts_can_fail(runs):
    figure = training.curves(read_arms(runs / "a-plain"))
    figure.text(0.99, 0.5, "longer than the room that is left for it")
    assert not inside(figure)


def test_the_overview_shows_the_zeros_at_the_end(runs):
    arms = read_arms(runs)
    figure = overview(arms)
    accuracy, zeros, _ = figure.axes
    said = [text.get_text() for text in zeros.texts]
    assert said == [
        f"{100 * arm.zeros_start.estimate:.1f} → {100 * arm.zeros_end.estimate:.1f}" for arm in arms
    ]
    failed = [text.get_text().split("\n")[-1] for text in accuracy.texts]
    assert failed[-1] == "1 of 1 failed"
    ends = [line.get_xdata()[0] for line in zeros.lines if line.get_marker() == "o"]
    assert [x for arm in arms for x in (100 * arm.zeros_end.estimate,) if x not in ends] == []


def test_the_overview_draws_the_interval_of_the_mean(runs):
    arm = read_arms(runs)[0]
    accuracy = overview([arm]).axes[0]
    (bars,) = [
        made for made in accuracy.containers if made.get_label().startswith("_") and len(made) == 3
    ]
    (segment,) = bars[2][0].get_segments()
    assert segment[:, 0] == pytest.approx([100 * arm.accuracy.low, 100 * arm.accuracy.high])


def test_an_arm_without_measurements_says_so_nowhere_wrongly(runs, run):
    empty = {name: column[:0] for name, column in run.layers.items()}
    bare = Arm("bare", run.config, (replace(run, layers=empty),))
    *_, gradient = training.depth_profiles([bare]).axes
    assert [text.get_text() for text in gradient.texts] == ["bare: none"]
