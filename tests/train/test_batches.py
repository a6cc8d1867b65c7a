import pytest
import torch

from sparsefield.errors import InvalidInput
from sparsefield.train.batches import Batches, epoch_order


def batches(size=10, batch=4, seed=0, rank=0, world=1):
    x = torch.arange(size)
    return Batches(x * 10, x, batch=batch, seed=seed, rank=rank, world=world)


def test_an_epoch_takes_every_image_once_but_for_the_last_partial_batch():
    data = batches()
    assert data.per_epoch == 2
    seen = torch.cat([data.at(step)[1] for step in range(2)])
    assert len(seen) == len(set(seen.tolist())) == 8


def test_images_and_labels_go_together():
    x, y = batches().at(1)
    assert torch.equal(x, y * 10)


def test_a_step_has_its_batch_whatever_came_before():
    straight, jumped = batches(), batches()
    for step in range(9):
        straight.at(step)
    assert torch.equal(straight.at(9)[1], jumped.at(9)[1])


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    for i, one in enumerate(orders):
        assert sorted(one.tolist()) == list(range(50))
        assert not any(torch.equal(one, other) for other in orders[:i])
    assert torch.equal(epoch_order(50, 1, 1), orders[3])


def test_the_global_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    batches().at(5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_shares_of_the_processes_make_up_the_batch():
    whole = batches().at(3)[1]
    shares = [batches(rank=rank, world=2).at(3)[1] for rank in (0, 1)]
    assert torch.equal(torch.cat(shares), whole)


def test_a_batch_larger_than_the_data():
    with pytest.raises(InvalidInput, match="batch=11: larger than the training set of 10; give"):
        batches(batch=11)
