import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchseg.training import draws as module
from patchseg.training.draws import KNOTS, RECTANGLES, Draws

NAMES = list(module._SIZES)
SEEDS = st.sampled_from([0, 1, 2**31, 2**40, 2**70])
FAR = st.integers(0, 40) | st.integers(2**40, 2**40 + 40)


def table(draws):
    """Return all numbers of some samples side by side, (N, n)."""
    return np.concatenate([draws[name].reshape(len(draws), -1) for name in NAMES], axis=1)


@given(seed=SEEDS, first=FAR, count=st.integers(1, 12), data=st.data())
def test_numbers_of_a_sample_depend_neither_on_the_others_nor_on_their_count(seed, first, count, data):
    other = data.draw(st.integers(max(0, first - 5), first + count - 1))
    more = max(0, first - other) + data.draw(st.integers(1, 20))  # so that they share some
    one, two = table(Draws.of(seed, first, count)), table(Draws.of(seed, other, more))
    begin, end = max(first, other), min(first + count, other + more)
    assert (one[begin - first : end - first] == two[begin - other : end - other]).all()


@given(seed=SEEDS, first=FAR)
def test_numbers_of_chosen_rows_are_those_of_the_samples(seed, first):
    five = Draws.of(seed, first, 5)
    some = five.at(np.array([3, 0, 3]))
    assert len(some) == 3
    for place, row in enumerate((3, 0, 3)):
        assert (table(some)[place] == table(Draws.of(seed, first + row, 1))[0]).all()


def test_sample_numbers_of_numpy_are_like_those_of_python():
    assert (table(Draws.of(7, np.int64(2**40), 3)) == table(Draws.of(7, 2**40, 3))).all()


def test_no_samples_are_no_numbers():
    none = Draws.of(0, 3, 0)
    assert len(none) == 0
    assert none["shift_by"].shape == (0, 2)
    assert none.choice("turn", 4).tolist() == []


def test_seeds_samples_and_names_have_numbers_of_their_own():
    firsts = (0, 100, 2**40)
    tables = [table(Draws.of(seed, first, 50)) for seed in (0, 1, 2**40, 2**70) for first in firsts]
    numbers = np.concatenate(tables).ravel()
    # Two of so few numbers of 53 bits are equal once in four million times: no two columns share one, either.
    assert len(np.unique(numbers)) == len(numbers)


def test_names_have_as_many_numbers_as_they_need():
    draws = Draws.of(0, 0, 3)
    assert draws["noise"].shape == (3,)
    assert draws["shear_by"].shape == draws["shift_by"].shape == draws["cutmix_place"].shape == (3, 2)
    assert draws["knots"].shape == (3, 2 * KNOTS**2)
    assert draws["corners"].shape == (3, 4 * RECTANGLES)


def test_numbers_are_uniform_and_columns_independent():
    numbers = table(Draws.of(5, 0, 4000))
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # Five standard errors of 4000 numbers, and of their squares.
    assert abs(numbers.mean(axis=0) - 1 / 2).max() < 5 / np.sqrt(12 * 4000)
    assert abs((numbers**2).mean(axis=0) - 1 / 3).max() < 5 * np.sqrt(4 / 45 / 4000)
    apart = np.corrcoef(numbers, rowvar=False) - np.eye(numbers.shape[1])
    assert abs(apart).max() < 6 / np.sqrt(4000)


def fixed(*numbers):
    """Return draws of which every number is the given one, a sample each."""
    return Draws(np.repeat(np.array(numbers)[:, None], sum(module._SIZES.values()), axis=1))


LAST = 1 - 2**-53  # the largest number below 1


def test_shares_are_hit_by_what_is_below_them():
    draws = fixed(0, 0.3, LAST)
    assert draws.hit("noise", 0).tolist() == [False] * 3
    assert draws.hit("noise", 0.3).tolist() == [True, False, False]
    assert draws.hit("noise", 1).tolist() == [True] * 3
    assert Draws.of(0, 0, 4000).hit("noise", 0.2).mean() == pytest.approx(0.2, abs=0.03)


def test_between_spreads_evenly_from_low_to_high():
    assert fixed(0, 0.25, 0.5).between("angle", -180, 180).tolist() == [-180, -90, 0]
    assert fixed(LAST).between("angle", -180, 180) == pytest.approx(180)
    assert fixed(0, 0.25).between("shift_by", 2, 6).tolist() == [[2, 2], [3, 3]]


def test_half_of_the_factors_are_below_one():
    assert fixed(0, 0.25, 0.5, 0.75, LAST).factor("scale_by", 0.5, 3) == pytest.approx([0.5, 0.75, 1, 2, 3])
    factors = Draws.of(0, 0, 4000).factor("scale_by", 0.7, 1.4)
    assert (factors < 1).mean() == pytest.approx(0.5, abs=0.04)
    assert 0.7 <= factors.min() < 0.71
    assert 1.39 < factors.max() < 1.4


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 7, 1000, 2**20 + 1, 2**31 - 1])
def test_choices_stay_in_range(number):
    chosen = fixed(0, LAST).choice("turn", number)
    assert chosen.dtype == np.int64
    assert chosen.tolist() == [0, number - 1]


def test_choices_are_equally_often():
    counts = np.bincount(Draws.of(0, 0, 4000).choice("turn", 4))
    assert counts.tolist() == pytest.approx([1000] * 4, abs=140)  # five standard deviations
