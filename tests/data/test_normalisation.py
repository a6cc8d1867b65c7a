from __future__ import annotations

import math

import pytest
import torch

from sparsefield.data import load
from sparsefield.data.dataset import CHUNK, Decoded, in_float64
from sparsefield.data.normalisation import normalised
from sparsefield.errors import InvalidInput, SparsefieldError


def pixels(seed: int = 0, train: int = 150, test: int = 70, scale: float = 255.0) -> Decoded:
    """Two channels of different brightness; more samples than a chunk, and not a multiple."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 120, (train + test, 2, 6, 5), generator=draw, dtype=torch.uint8)
    x[:, 1] += 100
    y = torch.randint(0, 4, (train + test,), generator=draw)
    return Decoded(x[:train], y[:train], x[train:], y[train:], classes=4, scale=scale)


def moments(x: torch.Tensor) -> torch.Tensor:
    return x.double().square().mean((1, 2, 3))


def test_none_scales_to_the_unit_interval() -> None:
    data = normalised(pixels(), "none")
    assert data.train_x.dtype == torch.float32
    assert torch.equal(data.train_x, pixels().train_x / 255)
    assert torch.equal(data.test_x, pixels().test_x / 255)


def test_channel_uses_the_training_split_alone() -> None:
    data = normalised(pixels(), "channel")
    assert data.train_x.mean((0, 2, 3)).abs().max() < 1e-6
    torch.testing.assert_close(data.train_x.std((0, 2, 3), correction=0), torch.ones(2))
    # The twin: the test split has statistics of its own, which must show.
    assert data.test_x.mean((0, 2, 3)).abs().max() > 1e-3


def test_channel_against_the_formula_in_float64() -> None:
    decoded = pixels()
    train = decoded.train_x.double() / 255
    mean = train.mean((0, 2, 3), keepdim=True)
    std = train.std((0, 2, 3), correction=0, keepdim=True)
    expected = ((decoded.test_x.double() / 255 - mean) / std).float()
    torch.testing.assert_close(normalised(decoded, "channel").test_x, expected)


@pytest.mark.parametrize("normalise", ["sample", "both"])
def test_each_sample_has_unit_second_moment(normalise: str) -> None:
    data = normalised(pixels(), normalise)
    for x in (data.train_x, data.test_x):
        torch.testing.assert_close(moments(x), torch.ones(len(x), dtype=torch.float64))
    assert data.input_moment == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("normalise", ["channel", "none"])
def test_without_sample_the_moments_differ(normalise: str) -> None:
    data = normalised(pixels(), normalise)
    assert moments(data.train_x).std() > 1e-3
    expected = float(data.train_x.double().square().mean())
    assert data.input_moment == pytest.approx(expected, rel=1e-12)


def test_both_is_channel_then_sample() -> None:
    channel = normalised(pixels(), "channel").test_x
    rms = moments(channel).sqrt().float().view(-1, 1, 1, 1)
    torch.testing.assert_close(normalised(pixels(), "both").test_x, channel / rms)


def test_normalisation_does_not_depend_on_the_stored_scale() -> None:
    """Channel and sample normalisation undo any common scale; "none" does not (the twin)."""
    for normalise in ("channel", "sample", "both"):
        one, other = (normalised(pixels(scale=scale), normalise) for scale in (255.0, 16.0))
        torch.testing.assert_close(one.train_x, other.train_x)
    one, other = (normalised(pixels(scale=scale), "none") for scale in (255.0, 16.0))
    assert not torch.allclose(one.train_x, other.train_x)


def test_constant_channel_is_centred_and_not_scaled() -> None:
    train, test = torch.rand(2, 100, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    train[:, 1], test[:, 1] = 0.1, 0.3
    labels = torch.zeros(100, dtype=torch.int64)
    data = normalised(Decoded(train, labels, test, labels, classes=1, scale=1.0), "channel")
    assert data.train_x[:, 1].abs().max() < 1e-7
    torch.testing.assert_close(data.test_x[:, 1], torch.full((100, 3, 3), 0.2))


@pytest.mark.parametrize("normalise", ["sample", "none"])
def test_zero_sample_stays_zero(normalise: str) -> None:
    decoded = pixels()
    decoded.train_x[3] = 0
    data = normalised(decoded, normalise)
    assert torch.equal(data.train_x[3], torch.zeros(2, 6, 5))
    assert data.train_x.isfinite().all()


def test_extreme_floats_do_not_overflow() -> None:
    x = torch.full((5, 1, 2, 2), 1e30)
    x[:, :, 0] = -1e30
    labels = torch.zeros(5, dtype=torch.int64)
    data = normalised(Decoded(x, labels, x, labels, classes=1, scale=1.0), "both")
    torch.testing.assert_close(data.train_x, x.sign())


def test_chunks_cover_everything_once() -> None:
    x = torch.arange(2.0 * CHUNK + 3).view(-1, 1, 1, 1)
    assert math.isclose(sum(float(part.sum()) for part in in_float64(x)), float(x.double().sum()))


def test_stored_values_are_left_alone() -> None:
    decoded = pixels()
    before = decoded.train_x.clone()
    normalised(decoded, "both")
    assert torch.equal(decoded.train_x, before)


def test_unknown_normalisation() -> None:
    with pytest.raises(InvalidInput, match=r"normalise='whiten' .* both, channel, sample, none"):
        load("digits", normalise="whiten")  # type: ignore[arg-type]


def test_the_choice_is_checked_before_anything_is_read() -> None:
    with pytest.raises(SparsefieldError, match="normalise"):
        load("no/such/set", normalise="")  # type: ignore[arg-type]
