from typing import get_args

import pytest
import torch
from torch import nn

from patchseg import parameters
from patchseg.parameters import TrainParameters
from patchseg.training.optimizers import OPTIMIZERS, rate_for


def walk(name, *, steps, slope=2.0, rate=0.1, **values):
    """Return where a weight that starts at 1 is after some steps down a constant slope."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = OPTIMIZERS[name]([weight], TrainParameters(**values))
    optimizer.param_groups[0]["lr"] = rate
    for _ in range(steps):
        weight.grad = torch.full_like(weight, slope)
        optimizer.step()
    return weight.item()


@pytest.mark.parametrize(
    ("name", "steps", "values", "expected"),
    [
        ("sgd", 1, {"weight_decay": 0.0}, 1 - 0.1 * 2),
        ("sgd", 2, {"weight_decay": 0.0, "momentum": 0.5}, 1 - 0.1 * 2 - 0.1 * (0.5 * 2 + 2)),
        ("sgd", 1, {"weight_decay": 0.5}, 1 - 0.1 * (2 + 0.5 * 1)),
        ("adam", 1, {"weight_decay": 0.0}, 1 - 0.1),  # the first step is the rate, whatever the slope
        ("adam", 1, {"weight_decay": 0.5}, 1 - 0.1),  # also where decay adds to it
        ("adamw", 1, {"weight_decay": 0.5}, 1 - 0.1 * 0.5 * 1 - 0.1),
    ],
)
def test_steps_are_as_by_hand(name, steps, values, expected):
    assert walk(name, steps=steps, **values) == pytest.approx(expected, abs=1e-7)


def test_without_a_rate_nothing_moves():
    assert [walk(name, steps=3, rate=0.0) for name in OPTIMIZERS] == [1.0] * len(OPTIMIZERS)


def test_rates_suit_the_optimizer_and_the_width():
    settings = TrainParameters()
    assert [rate_for(settings, width) for width in (4, 16, 32, 64)] == [0.004, 0.004, 0.002, 0.002]
    assert rate_for(TrainParameters(optimizer="sgd"), 16) == 0.01


def test_parameters_offer_exactly_the_optimizers_there_are():
    assert set(get_args(parameters.Optimizer)) == set(OPTIMIZERS)
