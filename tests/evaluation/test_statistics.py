"""Intervals and tests against figures worked by hand, against scipy, and against what they promise."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from patchseg.evaluation import statistics as module
from patchseg.evaluation.statistics import exchange_test, jackknife, least, mean_interval, ratio, t_quantile

SCORES = np.array([0.91, 0.85, 0.78, 0.88, 0.93, 0.62, 0.87, 0.9])
VALUES = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=2, max_size=12).map(np.array)


def pairs_of(a, b) -> np.ndarray:
    """Return (n, 2, 1): the rows of a sum."""
    return np.stack([a, b], axis=1)[..., None]


def total(sums):
    return sums


def mean_difference(first, second, axis):
    return second.mean(axis) - first.mean(axis)


# Intervals


def test_the_quantile_is_the_one_in_tables():
    assert [round(t_quantile(n), 3) for n in (2, 3, 10, 30)] == [12.706, 4.303, 2.262, 2.045]


def test_the_interval_of_a_mean_is_students():
    interval = mean_interval(SCORES)
    expected = stats.t.interval(0.95, len(SCORES) - 1, SCORES.mean(), stats.sem(SCORES))
    assert interval.value == pytest.approx(SCORES.mean())
    assert interval[1:3] == pytest.approx(expected)
    assert (interval.units, interval.approximate) == (8, True)


@given(VALUES)
def test_the_jackknife_of_a_mean_is_students_interval_for_any_values(values):
    low, high = mean_interval(values, bounds=(-np.inf, np.inf))[1:3]
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=1e-9)


def test_three_images_of_pooled_pixels_worked_by_hand():
    # 8 of 10, 9 of 10, 40 of 50; without one of them 49/60, 48/60, 17/20.
    units = np.array([[8, 10], [9, 10], [40, 50]])
    interval = jackknife(units, lambda sums: sums[:, :1] / sums[:, 1:], present=np.ones((3, 1), bool))[0]
    left = np.array([49 / 60, 48 / 60, 17 / 20])
    error = (2 / 3 * ((left - left.mean()) ** 2).sum()) ** 0.5
    assert interval.value == pytest.approx(57 / 70)
    assert interval.low == pytest.approx(57 / 70 - 4.30265 * error, abs=1e-5)
    assert interval.high == pytest.approx(57 / 70 + 4.30265 * error, abs=1e-5)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 99)), min_size=2, max_size=8))
def test_the_jackknife_is_student_s_interval_of_pseudo_values(rows):
    units = np.array(rows, float)
    n, whole = len(units), units[:, 0].sum() / units[:, 1].sum()
    pseudo = []
    for left_out in range(n):
        rest = np.delete(units, left_out, axis=0).sum(axis=0)
        pseudo.append(n * whole - (n - 1) * rest[0] / rest[1])
    half = stats.t.ppf(0.975, n - 1) * np.std(pseudo, ddof=1) / n**0.5
    found = jackknife(
        units, lambda s: s[:, :1] / s[:, 1:], present=np.ones((n, 1), bool), bounds=(-np.inf, np.inf)
    )[0]
    assert (found.low, found.high) == pytest.approx((whole - half, whole + half), abs=1e-6)


def test_the_ends_stay_among_the_scores_there_can_be():
    assert mean_interval(np.array([0.99, 1.0, 0.9])).high == 1
    assert mean_interval(np.array([0.01, 0.0, 0.2])).low == 0
    assert mean_interval(np.array([-0.5, 0.9]), bounds=(-1.0, 1.0))[1:3] == (-1, 1)


def test_one_image_has_a_score_but_no_interval():
    assert mean_interval(np.array([0.8])) == (0.8, None, None, 1)
    assert mean_interval(np.array([0.8, np.nan])) == (0.8, None, None, 1)


def test_no_score_is_none_at_all():
    assert mean_interval(np.array([np.nan, np.nan])) == (None, None, None, 0)


def test_what_is_undefined_without_one_of_the_units_has_no_interval():
    units = np.array([[5, 10], [0, 0]])
    assert jackknife(units, lambda s: module.divided(s[:, :1], s[:, 1:]), present=np.ones((2, 1), bool)) == [
        (0.5, None, None, 2)
    ]


def test_units_that_say_nothing_of_a_score_make_it_no_surer():
    units = np.array([[[0.7], [1]], [[0.9], [1]], [[0.0], [0]], [[0.0], [0]]])
    alone = mean_interval(np.array([0.7, 0.9]))
    assert jackknife(units, ratio, present=units[:, 1] > 0)[0] == alone


def test_an_interval_is_approximate_below_30_units():
    assert mean_interval(np.linspace(0.4, 0.6, 29)).approximate
    assert not mean_interval(np.linspace(0.4, 0.6, 30)).approximate


# Exchanging A and B


def test_three_images_exchanged_by_hand():
    # Differences 1, 2, 3: of the sums ±1 ±2 ±3, two are as large as 6; of 0, 1, 3 (sum 4) two of four are doubled.
    assert exchange_test(pairs_of([1.0, 2, 3], [2.0, 4, 6]), total) == [2 / 8]
    assert exchange_test(pairs_of([1.0, 2, 3], [1.0, 3, 6]), total) == [4 / 8]
    assert exchange_test(pairs_of([1.0, 2, 3], [2.0, 1, 3]), total) == [1]


@pytest.mark.parametrize("images", [2, 5, 8, 12])
def test_all_exchanges_give_the_p_of_scipy(images):
    a, b = np.random.default_rng(images).beta(8, 2, (2, images))
    expected = stats.permutation_test(
        (a, b), mean_difference, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert exchange_test(pairs_of(a, b), total) == [pytest.approx(expected.pvalue)]


def test_differences_that_are_equal_but_for_their_last_bits_count_as_such():
    # 0.1 + 0.2 + 0.3 differs from 0.3 + 0.2 + 0.1, and each exchange adds them in its own way.
    a = np.array([0.1, 0.2, 0.3, 0.4, 0.7])
    assert exchange_test(pairs_of(a, a[::-1]), total) == [1]
    assert exchange_test(pairs_of(a, a + 0.1), total) == [2 / 32]


def test_drawn_exchanges_come_near_the_p_of_scipy():
    generator = np.random.default_rng(4)
    a = generator.beta(8, 2, 15)
    b = a + generator.normal(0.02, 0.05, 15)
    expected = stats.permutation_test(
        (a, b), mean_difference, permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue
    (found,) = exchange_test(pairs_of(a, b), total)
    error = (expected * (1 - expected) / module.DRAWN) ** 0.5
    assert 0.01 < expected < 0.5
    assert abs(found - expected) < 4 * error


def test_one_image_cannot_be_told_from_chance():
    assert exchange_test(pairs_of([0.1], [0.9]), total) == [1]


def test_drawn_exchanges_are_those_of_the_seed():
    a, b = np.random.default_rng(0).beta(8, 2, (2, 20))
    assert exchange_test(pairs_of(a, b), total) == exchange_test(pairs_of(a, b), total)
    assert exchange_test(pairs_of(a, b), total) != exchange_test(pairs_of(a, b), total, seed=1)


@pytest.mark.parametrize("images", [5, 14, 15, 60])
def test_p_is_never_0_and_the_least_is_known(images):
    a = np.linspace(0.5, 0.6, images)
    (p,) = exchange_test(pairs_of(a, a + 0.3), total)
    assert p >= least(images) > 0
    assert images > module.EXACT or p == least(images)


def test_every_exchange_is_tried_once_where_they_are_few():
    tried = np.concatenate(list(module._exchanges(11, 0)))
    assert {tuple(row) for row in tried.tolist()} == set(itertools.product([False, True], repeat=11))
    assert len(tried) == 2**11


def test_a_score_of_sums_is_exchanged_unit_by_unit():
    """Pooled shares, against a loop over all exchanges."""
    generator = np.random.default_rng(2)
    pairs = generator.integers(1, 50, (6, 2, 2)).astype(float)

    def share(sums):
        return sums[:, :1] / sums.sum(axis=1, keepdims=True)

    differences = []
    for swapped in itertools.product([False, True], repeat=6):
        sums = sum(pair[::-1] if swap else pair for pair, swap in zip(pairs, swapped, strict=True))
        differences.append(sums[1][0] / sums[1].sum() - sums[0][0] / sums[0].sum())
    expected = np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12)
    assert exchange_test(pairs, share) == [pytest.approx(expected)]


def test_an_undefined_difference_has_no_p_and_undefined_exchanges_count_as_larger():
    nothing = np.zeros((3, 2, 2))
    assert exchange_test(nothing, lambda s: module.divided(s[:, :1], s[:, 1:])) == [None]
    # The first unit alone is of A and of B; the second is nowhere: all 4 exchanges are as large.
    lone = np.array([[[1.0, 2], [2, 2]], [[0, 0], [0, 0]]])
    assert exchange_test(lone, lambda s: module.divided(s[:, :1], s[:, 1:])) == [1]
    # Exchanging either unit leaves one side without a score: with the two that are as large, all four.
    apart = np.array([[[1.0, 2], [0, 0]], [[0, 0], [2, 2]]])
    assert exchange_test(apart, lambda s: module.divided(s[:, :1], s[:, 1:])) == [1]


# What is promised


@pytest.mark.parametrize("images", [10, 30])
def test_19_of_20_intervals_hold_the_mean_over_images(images):
    """2,000 data sets whose images have a skewed IoU; benchmarks/coverage.py has the whole table."""
    data = np.random.default_rng(1).beta(8, 1.5, (2000, images))
    held = np.mean([low <= 8 / 9.5 <= high for _, low, high, _ in map(mean_interval, data)])
    assert 0.92 <= held <= 0.98


def test_the_plain_bootstrap_that_is_not_used_holds_it_less_often():
    data = np.random.default_rng(1).beta(8, 1.5, (300, 10))
    again = stats.bootstrap(
        (data,), np.mean, axis=1, n_resamples=499, method="percentile", random_state=np.random.default_rng(2)
    ).confidence_interval
    plain = np.mean((again.low <= 8 / 9.5) & (again.high >= 8 / 9.5))
    ours = np.mean([low <= 8 / 9.5 <= high for _, low, high, _ in map(mean_interval, data)])
    assert plain < ours


def test_where_nothing_differs_p_is_below_005_once_in_20():
    generator = np.random.default_rng(3)
    sets = [generator.beta(8, 1.5, (2, 8)) for _ in range(400)]
    false_alarms = np.mean([exchange_test(pairs_of(*pair), total)[0] < 0.05 for pair in sets])
    assert 0.02 < false_alarms < 0.08
