import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefield.data import split
from sparsefield.errors import InvalidInput


@given(st.integers(2, 500), st.floats(0.01, 0.99))
def test_every_sample_is_on_one_side(samples, share):
    if not 0 < round(share * samples) < samples:
        with pytest.raises(InvalidInput, match="validation="):
            split(samples, share)
        return
    train, held_out = split(samples, share)
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(samples))
    assert len(held_out) == round(share * samples)


def test_no_share_leaves_the_training_set_as_it_is():
    train, held_out = split(7, 0.0)
    assert train.tolist() == list(range(7))
    assert not len(held_out)


def test_the_parting_is_a_draw_not_a_block():
    held_out = split(1000, 0.1)[1]
    assert held_out.equal(split(1000, 0.1)[1])
    assert held_out.max() - held_out.min() > 800
