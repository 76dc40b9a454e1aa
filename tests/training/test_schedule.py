from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg import parameters
from patchseg.training.schedule import (
    FIRST,
    LAST,
    SCHEDULES,
    WARM_UP,
    constant,
    cosine,
    factor,
    onecycle,
    poly,
    step,
)

progresses = st.floats(0, 1)
every_schedule = pytest.mark.parametrize("name", sorted(SCHEDULES))
others_than_onecycle = pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"onecycle"}))


@every_schedule
@given(progress=progresses, warm_up=st.none() | st.floats(0, 1))
def test_the_highest_rate_is_never_exceeded_and_never_zero(name, progress, warm_up):
    assert 0 < SCHEDULES[name](progress) <= 1
    assert LAST <= factor(name, progress, warm_up) <= 1


@every_schedule
@pytest.mark.parametrize("warm_up", [None, 0.0, 0.3, 1.0])
def test_the_highest_rate_is_reached(name, warm_up):
    assert max(factor(name, k / 1000, warm_up) for k in range(1001)) == pytest.approx(1, abs=1e-4)


@given(progress=progresses)
def test_constant_is_one(progress):
    assert constant(progress) == 1


@pytest.mark.parametrize("total", [4, 100, 1700])
def test_step_spends_exactly_the_last_quarter_of_the_steps_at_a_tenth(total):
    factors = [step(k / total) for k in range(total)]
    assert factors == [1.0] * (total * 3 // 4) + [0.1] * (total // 4)


def test_poly_passes_the_points_worked_by_hand_and_ends_above_0():
    # 0.5^0.9 = 2^-0.9 and 0.01^0.9 = 10^-1.8
    assert [poly(progress) for progress in (0, 0.5, 0.99)] == pytest.approx([1, 2**-0.9, 10**-1.8])
    assert poly(1) == LAST
    assert all(a >= b for a, b in pairwise(poly(k / 5000) for k in range(5001)))


def test_cosine_passes_the_points_worked_by_hand():
    # cos 60 degrees = 1/2: three quarters of the way from LAST to 1 remain after a third.
    assert [cosine(progress) for progress in (0, 1 / 3, 1 / 2, 1)] == pytest.approx(
        [1, LAST + 0.75 * (1 - LAST), (1 + LAST) / 2, LAST]
    )


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


def test_onecycle_without_a_warm_up_is_cosine_and_with_a_longer_one_tops_later():
    assert [onecycle(k / 100, 0) for k in range(101)] == [cosine(k / 100) for k in range(101)]
    assert [onecycle(progress, 0.5) for progress in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(
        [0.04, 0.52, 1, 0.5005, 1e-3]
    )
    assert [onecycle(progress, 1) for progress in (0, 0.5, 1)] == pytest.approx([0.04, 0.52, 1])


# Warm-up


@every_schedule
@given(progress=progresses)
def test_unless_asked_for_a_warm_up_a_schedule_is_what_it_is(name, progress):
    assert factor(name, progress) == SCHEDULES[name](progress)


@others_than_onecycle
def test_a_warm_up_is_a_straight_line_to_the_start_of_the_course(name):
    assert [factor(name, progress, 0.2) for progress in (0, 0.05, 0.1, 0.2)] == pytest.approx(
        [FIRST, 0.28, 0.52, 1]
    )


@others_than_onecycle
@given(share=progresses, warm_up=st.floats(0, 0.9))
def test_the_whole_course_follows_the_warm_up(name, share, warm_up):
    place = (warm_up + share * (1 - warm_up) - warm_up) / (1 - warm_up)  # what rounding leaves of the share
    assert factor(name, warm_up + share * (1 - warm_up), warm_up) == SCHEDULES[name](place)


@others_than_onecycle
def test_a_warm_up_may_be_all_there_is(name):
    assert [factor(name, progress, 1.0) for progress in (0, 0.5, 1)] == pytest.approx([FIRST, 0.52, 1])


def test_the_warm_up_of_onecycle_is_its_own():
    for warm_up in (0.0, 0.1, 1.0):
        assert [factor("onecycle", k / 50, warm_up) for k in range(51)] == [
            onecycle(k / 50, warm_up) for k in range(51)
        ]


def test_parameters_offer_exactly_the_schedules_there_are():
    assert set(get_args(parameters.Schedule)) == set(SCHEDULES)
