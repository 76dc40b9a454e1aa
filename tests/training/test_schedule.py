from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg import parameters
from patchseg.training.schedule import SCHEDULES, WARM_UP, constant, onecycle, step

progresses = st.floats(0, 1)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@given(progress=progresses)
def test_the_highest_rate_is_never_exceeded_and_never_zero(name, progress):
    assert 0 < SCHEDULES[name](progress) <= 1


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_the_highest_rate_is_reached(name):
    assert max(SCHEDULES[name](k / 1000) for k in range(1000)) == pytest.approx(1, abs=1e-4)


@given(progress=progresses)
def test_constant_is_one(progress):
    assert constant(progress) == 1


@pytest.mark.parametrize("total", [4, 100, 1700])
def test_step_spends_exactly_the_last_quarter_of_the_steps_at_a_tenth(total):
    factors = [step(k / total) for k in range(total)]
    assert factors == [1.0] * (total * 3 // 4) + [0.1] * (total // 4)


def test_onecycle_passes_the_points_worked_by_hand():
    # Half-way up or down, a cosine is at the mean of its ends: (0.04 + 1) / 2 and (1 + 0.001) / 2.
    assert onecycle(0) == pytest.approx(0.04)
    assert onecycle(WARM_UP / 2) == pytest.approx(0.52)
    assert onecycle(WARM_UP) == 1
    assert onecycle((1 + WARM_UP) / 2) == pytest.approx(0.5005)
    assert onecycle(1) == pytest.approx(1e-3)


def test_onecycle_warms_up_over_15_to_20_percent_and_then_only_falls():
    factors = [onecycle(k / 1000) for k in range(1001)]
    top = factors.index(max(factors))
    assert 150 <= top <= 200
    assert all(a < b for a, b in pairwise(factors[: top + 1]))
    assert all(a > b for a, b in pairwise(factors[top:]))


def test_onecycle_has_no_jump():
    assert max(abs(onecycle(k / 1000) - onecycle((k + 1) / 1000)) for k in range(1000)) < 0.011


def test_parameters_offer_exactly_the_schedules_there_are():
    assert set(get_args(parameters.Schedule)) == set(SCHEDULES)
