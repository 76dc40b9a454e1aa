from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from patchseg.parameters import TrainParameters
from patchseg.training.budget import Budget
from patchseg.training.schedule import LAST, SCHEDULES


class Clock:
    """A clock that is moved by hand."""

    now = 1000.0

    def __call__(self):
        return self.now

    def pass_(self, seconds):
        self.now += seconds


def plan(patches=100, **values):
    """Return a budget with a clock moved by hand, and that clock."""
    clock = Clock()
    return replace(Budget.of(TrainParameters(batch=16, **values), patches), clock=clock), clock


def measure(budget, clock, step, *, look=0.0, warm_up=()):
    """Take steps of some seconds until the total is fixed; return how many there were."""
    done = 0
    while not budget.measured():
        clock.pass_(warm_up[done] if done < len(warm_up) else step)
        budget.lap()
        done += 1
    budget.fix(done, TrainParameters(batch=16), lambda: clock.pass_(look))
    return done


@pytest.mark.parametrize(
    ("values", "total", "epoch_steps", "epochs"),
    [
        ({"epochs": 3}, 21, 7, 3),  # 100 patches in batches of 16: six full ones and a seventh
        ({"epochs": 3, "epoch_steps": 5}, 15, 5, 3),
        ({"steps": 100}, 100, 5, 20),
        ({"steps": 7}, 7, 1, 7),
        ({"steps": 100, "epoch_steps": 30}, 100, 30, 4),  # the last of 10 steps
    ],
)
def test_lengths_are_as_by_hand(values, total, epoch_steps, epochs):
    budget, _ = plan(**values)
    assert (budget.total, budget.epoch_steps, budget.epochs) == (total, epoch_steps, epochs)
    assert not budget.exhausted


def test_an_epoch_ends_after_its_steps_and_with_the_run():
    budget, _ = plan(steps=100, epoch_steps=30)
    assert [step for step in range(1, 101) if budget.ends_epoch(step)] == [30, 60, 90, 100]


@pytest.mark.parametrize(
    "values", [{"epochs": 3}, {"steps": 100}, {"time": 100.0}, {"time": 1e4, "steps": 50}]
)
def test_the_schedule_begins_at_the_first_step_and_reaches_its_last_small_rate(values):
    budget, clock = plan(**values)
    assert budget.progress(0) == 0
    if budget.total is None:
        assert [budget.progress(step) for step in range(5)] == [0] * 5
        measure(budget, clock, 1.0)
    course = [budget.progress(step) for step in range(budget.total)]
    assert course == sorted(course)
    assert course[-1] == 1
    assert SCHEDULES["onecycle"](course[-1]) == pytest.approx(LAST)


def test_a_run_of_one_step_has_a_rate():
    budget, _ = plan(steps=1)
    assert budget.progress(0) == 0


def test_a_run_of_many_steps_tells_once_what_is_left():
    # The first step takes 9 s, the others 2 s; after 13 of 100 there are 87 left.
    budget, clock = plan(steps=100)
    told = {}
    for step in range(1, 101):
        clock.pass_(9.0 if step == 1 else 2.0)
        budget.lap()
        told[step] = budget.forecast(step)
    assert {step: left for step, left in told.items() if left is not None} == {13: 174.0}


def test_a_time_budget_is_filled_by_the_measured_speed():
    # 13 steps and a validation take 13.5 s, 20 validations 10 s: 94 % of the 76.5 s left are 71 steps.
    budget, clock = plan(time=100.0)
    assert not any(budget.ends_epoch(step) for step in range(20))
    assert measure(budget, clock, 1.0, look=0.5) == 13
    assert (budget.total, budget.epoch_steps, budget.epochs) == (84, 5, 17)


def test_slow_first_steps_are_spent_but_do_not_count_as_speed():
    # Steps of 5 and 4 s, then 11 of 1 s: 20 s; 94 % of the other 80 s are 75 steps.
    budget, clock = plan(time=100.0)
    assert measure(budget, clock, 1.0, warm_up=(5.0, 4.0)) == 13
    assert budget.total == 13 + 75


def test_fast_steps_are_measured_for_a_fiftieth_of_the_budget_but_for_ten_seconds_at_most():
    for seconds, share in ((100.0, 2.0), (3600.0, 10.0)):
        budget, clock = plan(time=seconds)
        assert measure(budget, clock, 0.125) == share / 0.125 + 1


def test_slow_steps_are_measured_for_a_quarter_of_the_budget_at_most():
    # 2 steps of 10 s are a third of a minute: 94 % of the 40 s left are 3 more.
    budget, clock = plan(time=60.0)
    assert measure(budget, clock, 10.0) == 2
    assert budget.total == 5


def test_few_looks_are_taken_where_each_takes_long():
    # 10 % of 100 s is one look of 8 s: 94 % of 100 - 13 - 8 - 8 s are 66 steps in one epoch.
    budget, clock = plan(time=100.0)
    measure(budget, clock, 1.0, look=8.0)
    assert (budget.total, budget.epochs) == (13 + 66, 1)


@given(
    seconds=st.floats(1, 3600),
    step=st.floats(0.005, 30),
    look=st.floats(0, 60),
    most=st.none() | st.integers(1, 500),
)
def test_a_time_budget_is_kept_and_its_steps_are_never_exceeded(seconds, step, look, most):
    budget, clock = plan(time=seconds, steps=most)
    assert most is None or budget.total in (None, most)
    assume(budget.total is None)
    done = measure(budget, clock, step, look=look)
    assert done < budget.total <= (most or budget.total)
    finish = budget.elapsed + (budget.total - done) * step + budget.epochs * look
    assert finish <= seconds or budget.total == done + 1
    # Where the steps are not the limit, little is left over: the reserve, a step, and looks that were not needed.
    assert finish >= 0.93 * seconds - step - 20 * look or budget.total == most


def test_steps_cap_a_time_budget_and_are_not_all_spent_on_measuring():
    budget, clock = plan(time=3600.0, steps=100)
    assert measure(budget, clock, 0.01) == 13
    assert (budget.total, budget.epoch_steps) == (100, 5)


def test_a_run_of_a_few_steps_is_not_measured_but_stopped_by_time():
    budget, clock = plan(time=60.0, steps=5)
    assert budget.total == 5
    clock.pass_(59.0)
    assert not budget.exhausted
    clock.pass_(1.0)
    assert budget.exhausted


def test_seconds_of_earlier_processes_count():
    budget, clock = plan(time=60.0)
    budget.spent = 50.0
    clock.pass_(9.0)
    assert budget.elapsed == 59
    assert not budget.exhausted
    clock.pass_(1.0)
    assert budget.exhausted
