import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from patchseg.imaging import Box
from patchseg.studies import shift as module
from patchseg.studies.shift import REACH, Fit, count_shifts, find_fit, padded
from patchseg.synth import draw

INDICES = st.sampled_from([0, 0, 1, 2, 255])
SHAPE = st.shared(st.tuples(st.integers(1, 12), st.integers(1, 12)))
MASKS = arrays(np.uint8, SHAPE, elements=INDICES)


def reader(mask):
    return lambda box: mask[box.slices]


def fit(given, predicted):
    return find_fit(reader(given), reader(predicted), given.shape)


def moved(mask, down, right):
    """Return a mask that lies too far down and to the right; what comes in is background."""
    wide = np.pad(mask, REACH)
    return wide[REACH - down :, REACH - right :][: mask.shape[0], : mask.shape[1]]


def slow(given, predicted, down, right):
    """Count pixel by pixel: equal classes, a class in the given mask, in the predicted one."""
    both = mine = other = 0
    for row, column in np.ndindex(predicted.shape):
        there = row + down, column + right
        if not (0 <= there[0] < given.shape[0] and 0 <= there[1] < given.shape[1]):
            continue
        one, two = given[there], predicted[row, column]
        if 255 in (one, two):
            continue
        both += one == two > 0
        mine += one > 0
        other += two > 0
    return both, mine, other


@settings(max_examples=15)
@given(MASKS, MASKS, st.integers(-13, 13), st.integers(-13, 13))
def test_counts_are_those_of_a_slow_count(given, predicted, down, right):
    counts = count_shifts(reader(given), reader(predicted), given.shape)
    place = REACH + down, REACH + right
    assert tuple(int(each[place]) for each in counts) == slow(given, predicted, down, right)


def test_tiles_count_what_the_whole_does(monkeypatch):
    _, mask = draw(0, 1, 90, 70)
    given = moved(mask, 2, 3)
    whole = count_shifts(reader(given), reader(mask), mask.shape)
    monkeypatch.setattr(module, "_TILE", 32)
    for one, other in zip(whole, count_shifts(reader(given), reader(mask), mask.shape), strict=True):
        np.testing.assert_array_equal(one, other)


def test_of_many_tiles_some_all_over_the_mask_are_looked_at(monkeypatch):
    monkeypatch.setattr(module, "_TILE", 10)
    monkeypatch.setattr(module, "_MOST", 4)
    read = []
    mask = np.zeros((80, 20), np.uint8)
    count_shifts(reader(mask), lambda box: (read.append(box), mask[box.slices])[1], mask.shape)
    assert [(box.top, box.left) for box in read] == [(0, 0), (20, 0), (40, 0), (60, 0)]


@pytest.mark.parametrize(("down", "right"), [(3, -5), (-7, 0), (0, 12), (2, 1), (-20, 25)])
def test_a_shifted_mask_is_found_with_its_shift(down, right):
    _, mask = draw(0, 3, 200, 150)
    found = fit(moved(mask, down, right), mask)
    assert (found.down, found.right) == (down, right)
    assert found.moved == 1
    assert found.is_shifted


def test_a_mask_in_its_place_is_not_shifted():
    _, mask = draw(0, 3, 200, 150)
    assert fit(mask, mask) == Fit(0, 0, 1.0, 1.0, 0)
    assert not fit(mask, mask).is_shifted


def test_a_pixel_is_no_shift_because_outlines_are_drawn_so():
    _, mask = draw(0, 3, 200, 150)
    found = fit(moved(mask, 1, 0), mask)
    assert (found.down, found.right, found.is_shifted) == (1, 0, False)


def test_objects_drawn_too_large_are_not_shifted():
    mask, large = np.zeros((2, 60, 60), np.uint8)
    mask[20:30, 20:30] = large[18:32, 18:32] = 1
    found = fit(large, mask)
    assert found.dice == 2 * 100 / (100 + 196)
    assert not found.is_shifted


def test_empty_masks_fit():
    empty = np.zeros((9, 9), np.uint8)
    assert fit(empty, empty) == Fit(0, 0, 1.0, 1.0, 0)


def test_a_box_beyond_the_mask_is_ignored_there():
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert padded(reader(mask), Box(-1, 1, 2, 3), (2, 3)).tolist() == [[255] * 3, [1, 2, 255]]
    assert padded(reader(mask), Box(5, 5, 1, 2), (2, 3)).tolist() == [[255, 255]]
