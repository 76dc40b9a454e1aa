import copy
import io
import math
from functools import partial
from typing import get_args

import pytest
import torch
from torch import nn, optim

from patchseg import parameters
from patchseg.models.unet import UNet
from patchseg.parameters import TrainParameters
from patchseg.training.optimizers import OPTIMIZERS, _fastest, groups_of, optimizer_of, rate_for

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
FUSED = {"sgd", "adam", "adamw", "amsgrad", "adagrad"}  # on the CPU, from torch 2.6 on


def walk(name, slopes, *, rate=0.1, **values):
    """Return where a weight that starts at 1 is after a step down each slope."""
    line = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(line.weight)
    optimizer = optimizer_of(line, TrainParameters(optimizer=name, **values))
    set_rate(optimizer, rate)
    for slope in slopes:
        line.weight.grad = torch.full_like(line.weight, slope)
        optimizer.step()
    return line.weight.item()


def set_rate(optimizer, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate


def network():
    """Return a small network with gradients."""
    torch.manual_seed(0)
    net = UNet(channels=1, classes=3, width=2, levels=2)
    redraw(net, 0)
    return net


def redraw(net, seed):
    generator = torch.Generator().manual_seed(seed)
    for weight in net.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)


def step(net, optimizer, seeds):
    for seed in seeds:
        redraw(net, seed)
        optimizer.step()


def vector(net):
    return torch.cat([weight.detach().flatten() for weight in net.parameters()])


MU = [0.9 * (1 - 0.5 * 0.96 ** (0.004 * step)) for step in (1, 2)]  # NAdam's momentum as it rises


@pytest.mark.parametrize(
    ("name", "slopes", "values", "expected"),
    [
        ("sgd", [2], {"momentum": 0.0, "weight_decay": 0.0}, 1 - 0.1 * 2),
        # Nesterov looks ahead: slope + 0.5 of the momentum, which is 2, then 3.
        ("sgd", [2, 2], {"momentum": 0.5, "weight_decay": 0.0}, 1 - 0.1 * (2 + 0.5 * 2) - 0.1 * (2 + 0.5 * 3)),
        ("sgd", [2], {"momentum": 0.0, "weight_decay": 0.5}, 1 - 0.1 * (2 + 0.5 * 1)),
        ("adam", [2], {"weight_decay": 0.0}, 1 - 0.1),  # the first step is the rate, whatever the slope
        ("adam", [2], {"weight_decay": 0.5}, 1 - 0.1),  # also where decay adds to it
        ("adamw", [2], {"weight_decay": 0.5}, 1 - 0.1 * 0.5 * 1 - 0.1),
        ("amsgrad", [2], {"weight_decay": 0.5}, 1 - 0.1),
        # Mean 0.18 / 0.19 over the square as large as ever, 0.004 / 0.001999; Adam's would be 0.003996.
        ("amsgrad", [2, 0], {"weight_decay": 0.0}, 0.9 - 0.1 * (0.18 / 0.19) / math.sqrt(0.004 / 0.001999)),
        ("radam", [2], {"weight_decay": 0.0}, 1 - 0.1 * 2),  # too early to divide by anything
        ("radam", [2, 2], {"weight_decay": 0.5}, 0.95 * (0.95 - 0.1 * 2) - 0.1 * 2),
        ("nadam", [2], {"weight_decay": 0.0}, 1 - 0.1 * (1 + 0.1 * MU[1] / (1 - MU[0] * MU[1]))),
        ("nadam", [2], {"weight_decay": 0.5}, 0.95 - 0.1 * (1 + 0.1 * MU[1] / (1 - MU[0] * MU[1]))),
        ("rmsprop", [2], {"momentum": 0.0, "weight_decay": 0.0}, 1 - 0.1 * 2 / math.sqrt(0.01 * 4)),
        # The second slope is 2 / sqrt(0.0796), beside half of the first, 10.
        (
            "rmsprop", [2, 2], {"momentum": 0.5, "weight_decay": 0.0},
            1 - 0.1 * 10 - 0.1 * (0.5 * 10 + 2 / math.sqrt(0.01 * 4 * 0.99 + 0.01 * 4)),
        ),
        ("adagrad", [2, 2], {"weight_decay": 0.0}, 1 - 0.1 - 0.1 * 2 / math.sqrt(2**2 + 2**2)),
        ("adagrad", [2], {"weight_decay": 0.5}, 1 - 0.1),
    ],
)  # fmt: skip
def test_steps_are_as_by_hand(name, slopes, values, expected):
    assert walk(name, slopes, **values) == pytest.approx(expected, abs=1e-6)


@every_optimizer
def test_without_a_rate_nothing_moves(name):
    assert walk(name, [2.0] * 3, rate=0.0) == 1


@every_optimizer
def test_weights_decay_and_norms_and_biases_do_not(name):
    net = nn.Sequential(
        nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 2, 2), nn.GroupNorm(1, 2)
    )
    for weight in net.parameters():
        nn.init.ones_(weight)
        weight.grad = torch.zeros_like(weight)
    optimizer = optimizer_of(net, TrainParameters(optimizer=name, weight_decay=0.1))
    set_rate(optimizer, 0.1)
    optimizer.step()
    shrunk = {key for key, weight in net.named_parameters() if (weight < 1).all()}
    kept = {key for key, weight in net.named_parameters() if (weight == 1).all()}
    assert shrunk == {"0.weight", "2.weight"}
    assert shrunk | kept == {key for key, _ in net.named_parameters()}


def test_every_weight_is_in_one_group():
    net = network()
    grouped = [id(weight) for group in groups_of(net, 0.1) for weight in group["params"]]
    assert sorted(grouped) == sorted(id(weight) for weight in net.parameters())


@every_optimizer
def test_the_fast_implementation_steps_as_the_plain_one_does(name):
    net = network()
    other = copy.deepcopy(net)
    settings = TrainParameters(optimizer=name)
    fast, plain = optimizer_of(net, settings), optimizer_of(other, settings)
    for group in plain.param_groups:
        group.update(foreach=False, fused=False)
    for optimizer in (fast, plain):
        set_rate(optimizer, 0.01)
    step(net, fast, range(5))
    step(other, plain, range(5))
    assert torch.allclose(vector(net), vector(other), rtol=1e-4, atol=1e-6)
    assert not torch.equal(vector(net), vector(network()))


@every_optimizer
def test_the_implementation_is_the_fastest_that_there_is_on_the_cpu(name):
    defaults = optimizer_of(network(), TrainParameters(optimizer=name)).defaults
    assert (defaults.get("fused"), defaults["foreach"]) == ((True, None) if name in FUSED else (None, True))


def test_an_optimizer_of_one_implementation_is_taken_as_it_is():
    optimizer = _fastest(partial(optim.SparseAdam, lr=0.1), [{"params": list(network().parameters())}])
    assert type(optimizer) is optim.SparseAdam


@every_optimizer
def test_a_state_that_was_written_and_read_goes_on_bit_for_bit(name, differences):
    net, settings = network(), TrainParameters(optimizer=name)
    optimizer = optimizer_of(net, settings)
    set_rate(optimizer, 0.01)
    step(net, optimizer, range(3))
    file, other = io.BytesIO(), copy.deepcopy(net)
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    restored = optimizer_of(other, settings)
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert not differences(restored.state_dict(), optimizer.state_dict())
    step(net, optimizer, range(3, 6))
    step(other, restored, range(3, 6))
    assert torch.equal(vector(net), vector(other))
    assert not differences(restored.state_dict(), optimizer.state_dict())


@every_optimizer
def test_a_state_of_another_implementation_leaves_ones_own(name):
    net, settings = network(), TrainParameters(optimizer=name)
    optimizer, other = optimizer_of(net, settings), optimizer_of(copy.deepcopy(net), settings)
    step(net, optimizer, range(2))
    state = optimizer.state_dict()
    own = [(group.get("fused"), group["foreach"]) for group in state["param_groups"]]
    for group in state["param_groups"]:
        group.update({"foreach": None} | ({"fused": None} if "fused" in group else {}))
    other.load_state_dict(state)
    assert [(group.get("fused"), group["foreach"]) for group in other.param_groups] == own


def test_rates_suit_the_optimizer_and_the_width():
    settings = TrainParameters()
    assert [rate_for(settings, width) for width in (4, 31, 32, 64)] == [0.004, 0.004, 0.002, 0.002]
    rates = {
        name: [rate_for(TrainParameters(optimizer=name), width) for width in (8, 32)] for name in OPTIMIZERS
    }
    assert rates.pop("sgd") == [0.01, 0.01]
    assert all(narrow == 2 * wide for narrow, wide in rates.values())
    # RMSprop's momentum makes ten steps of one; RAdam and Adagrad take small ones.
    assert rates["rmsprop"] < rates["adam"] == rates["adamw"] < rates["radam"] < rates["adagrad"]


def test_parameters_offer_exactly_the_optimizers_there_are():
    assert set(get_args(parameters.Optimizer)) == set(OPTIMIZERS)
