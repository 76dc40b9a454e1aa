import pytest
import torch

from patchseg.training.means import TOTAL, Means


def test_the_mean_of_what_not_every_step_has_is_over_those_that_have_it():
    means = Means()
    for step, cost in enumerate([1.0, 2.0, 6.0]):
        more = {"loss/contrast": torch.tensor(10.0 + step)} if step % 2 == 0 else {}
        means.add({TOTAL: torch.tensor(cost)} | more)
    other = Means()
    other.restore(means.state())
    for each in (means, other):
        assert each.taken() == {TOTAL: 3.0, "loss/contrast": 11.0}
        assert each.taken() == {TOTAL: 0.0}


@pytest.mark.parametrize("old", [{"loss_sum": 6.0, "loss_count": 4}, {"sums": {TOTAL: 6.0}, "loss_count": 4}])
def test_older_checkpoints_know_one_count(old):
    means = Means()
    means.restore(old)
    means.add({TOTAL: torch.tensor(4.0)})
    assert means.taken() == {TOTAL: 2.0}


def test_nothing_yet_is_nothing_after_resuming():
    means = Means()
    means.restore(Means().state())
    assert means.taken() == {TOTAL: 0.0}
