import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchseg.training.course import Course
from patchseg.training.schedule import LAST, SCHEDULES, factor


@given(name=st.sampled_from(sorted(SCHEDULES)), progress=st.floats(0, 1), warm_up=st.none() | st.floats(0, 1))
def test_an_undisturbed_run_follows_its_schedule(name, progress, warm_up):
    assert Course(name, warm_up).factor(7, progress) == factor(name, progress, warm_up)


@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    done=st.integers(1, 5000),
    left=st.integers(1, 5000),
    epoch=st.integers(1, 500),
)
def test_an_early_end_decays_from_where_it_was_to_the_last_small_rate(name, done, left, epoch):
    course, total = Course(name), done + left
    before = course.factor(done, done / total)
    end = course.end_early(done, done / total, epoch, total)
    assert done < end <= total
    tail = [course.factor(step, 0.123) for step in range(done, end)]
    assert tail[0] == pytest.approx(before)
    assert tail == sorted(tail, reverse=True)
    assert tail[-1] == pytest.approx(min(before, LAST)) or len(tail) == 1


def test_an_early_end_takes_a_tenth_of_the_steps_done_but_an_epoch_at_least():
    assert Course("cosine").end_early(1000, 0.1, 30, 10_000) == 1100
    assert Course("cosine").end_early(1000, 0.1, 250, 10_000) == 1250
    assert Course("cosine").end_early(1000, 0.1, 250, 1100) == 1100
    assert Course("cosine").end_early(5, 0.0, 1, None) == 6


def test_a_plateau_is_so_many_epochs_without_a_better_score():
    course = Course("onecycle", patience=3)
    scores = [True, False, False, True, False, False, False, False]
    assert [course.judge(better) for better in scores] == [False] * 6 + [True, False]
    assert Course("onecycle").judge(False) is False


def test_no_plateau_is_noticed_once_the_rate_decays():
    course = Course("cosine", patience=1)
    course.end_early(10, 0.1, 5, 100)
    assert not any(course.judge(False) for _ in range(5))


def test_only_the_schedule_of_plateaus_lowers_its_rate_and_three_times_at_most():
    assert not Course("cosine", patience=1).lowered()
    course = Course("plateau", patience=1)
    drops = []
    while course.lowered():
        drops.append(course.factor(50, 0.5))
    assert drops == pytest.approx([0.1, 0.01, 0.001])


def test_the_state_goes_through_a_file_and_back(tmp_path):
    course = Course("plateau", patience=2)
    course.judge(False)
    course.lowered()
    course.end_early(100, 0.1, 5, 1000)
    torch.save(course.state(), tmp_path / "state.pt")
    again = Course("plateau", patience=2)
    again.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert again == course
    assert [again.factor(step, 0.5) for step in (100, 105)] == [
        course.factor(step, 0.5) for step in (100, 105)
    ]
