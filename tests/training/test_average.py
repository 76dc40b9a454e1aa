import copy

import pytest
import torch
from torch import nn

from patchseg.training.average import Average, decay_at, decay_for


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def stir(network, seed):
    """Give a network other weights, statistics and counters."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.copy_(
                torch.full_like(tensor, seed) if tensor.dtype == torch.int64 else torch.randn_like(tensor)
            )


def test_the_first_steps_are_a_plain_mean_of_weights_and_statistics(network):
    average, seen = Average(network, 0.9), []
    for step in range(5):
        stir(network, step)
        seen.append(copy.deepcopy(network.state_dict()))
        average.update(step)
        for name, tensor in average.network.state_dict().items():
            if tensor.dtype == torch.int64:
                assert tensor.item() == step
            else:
                mean = torch.stack([state[name] for state in seen]).mean(0)
                torch.testing.assert_close(tensor, mean, rtol=1e-5, atol=1e-6)


def test_later_steps_decay_as_by_hand(network):
    average = Average(network, 0.5)
    values = []
    for step, value in enumerate((8.0, 4.0, 2.0, 16.0)):  # 8, then halves: 6, 4, 10
        nn.init.constant_(network[0].weight, value)
        average.update(step)
        values.append(average.network[0].weight.flatten()[0].item())
    assert values == [8, 6, 4, 10]


def test_the_average_neither_learns_nor_follows_in_training(network):
    average = Average(network.train(), 0.9)
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    assert network[0].weight.requires_grad


def test_the_decay_rises_to_its_highest_and_depends_on_the_length_of_the_run():
    course = [decay_at(step, 0.99) for step in range(300)]
    assert course == sorted(course)
    assert course[-1] == 0.99
    assert [decay_for(steps) for steps in (1, 1000, 50_000)] == [0.9, 0.95, 0.999]


def test_networks_that_change_their_layout_in_memory_are_averaged_on(network):
    average = Average(network, 0.5)
    for step, value in enumerate((8.0, 4.0)):
        nn.init.constant_(network[0].weight, value)
        average.update(step)
        assert average.network[0].weight.unique().item() == (8, 6)[step]
        for either in (network, average.network):
            either.to(memory_format=torch.channels_last)
            either.to(memory_format=torch.contiguous_format)
