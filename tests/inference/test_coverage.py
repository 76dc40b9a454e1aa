import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.imaging.box import Box
from patchseg.inference.coverage import uncovered
from patchseg.inference.tiling import Grid

SIDE = 16  # of the canvas that small areas are painted on
boxes = st.builds(Box, st.integers(0, 9), st.integers(0, 9), st.integers(0, 6), st.integers(0, 6))
areas = st.builds(Box, st.integers(0, 5), st.integers(0, 5), st.integers(0, 9), st.integers(0, 9))


def painted(boxes):
    """Return how many boxes hold each pixel of a canvas, (SIDE, SIDE) int."""
    canvas = np.zeros((SIDE, SIDE), int)
    for box in boxes:
        canvas[box.slices] += 1
    return canvas


def test_what_is_right_of_a_box_and_below_it_is_left():
    left = uncovered(Box(0, 0, 6, 8), [Box(0, 0, 4, 5)])
    assert left == [Box(0, 5, 4, 3), Box(4, 0, 2, 8)]


def test_around_a_box_in_the_middle_four_boxes_are_left():
    left = uncovered(Box(10, 20, 9, 9), [Box(13, 23, 3, 3)])
    assert left == [Box(10, 20, 3, 9), Box(13, 20, 3, 3), Box(13, 26, 3, 3), Box(16, 20, 3, 9)]


def test_where_nothing_is_done_all_is_left_as_one_box():
    assert uncovered(Box(3, 4, 5, 6), []) == [Box(3, 4, 5, 6)]
    assert uncovered(Box(3, 4, 5, 6), [Box(0, 0, 3, 99), Box(0, 10, 99, 9)]) == [Box(3, 4, 5, 6)]


@pytest.mark.parametrize("whole_rows", [False, True])
def test_nothing_is_left_of_nothing_or_where_all_is_done(whole_rows):
    assert uncovered(Box(3, 4, 0, 6), [], whole_rows=whole_rows) == []
    assert uncovered(Box(3, 4, 5, 0), [], whole_rows=whole_rows) == []
    grid = Grid((30, 41), tile=8)
    assert uncovered(Box(0, 0, 30, 41), list(grid), whole_rows=whole_rows) == []


def test_what_is_left_beside_boxes_of_different_rows_is_one_box():
    assert uncovered(Box(0, 0, 6, 8), [Box(0, 0, 2, 5), Box(2, 0, 4, 5)]) == [Box(0, 5, 6, 3)]


def test_rows_that_lack_a_column_are_left_whole():
    done = [Box(0, 0, 2, 8), Box(2, 0, 3, 7), Box(5, 1, 1, 7), Box(6, 0, 2, 8), Box(8, 4, 1, 1)]
    assert uncovered(Box(0, 0, 9, 8), done, whole_rows=True) == [Box(2, 0, 4, 8), Box(8, 0, 1, 8)]


@settings(max_examples=200, deadline=None)
@given(areas, st.lists(boxes, max_size=6))
def test_the_boxes_make_up_exactly_what_is_not_done_and_do_not_overlap(area, done):
    left = uncovered(area, done)
    expected = (painted([area]) > 0) & (painted(done) == 0)
    np.testing.assert_array_equal(painted(left), expected)
    assert left == sorted(left)
    assert all(box.height > 0 and box.width > 0 for box in left)


@settings(max_examples=200, deadline=None)
@given(areas, st.lists(boxes, max_size=6))
def test_whole_rows_are_those_that_lack_any_column(area, done):
    left = uncovered(area, done, whole_rows=True)
    lacking = ((painted([area]) > 0) & (painted(done) == 0)).any(axis=1)
    np.testing.assert_array_equal(painted(left), (painted([area]) > 0) & lacking[:, None])
    assert all((box.left, box.width) == (area.left, area.width) for box in left)
    # Ranges of rows that touch are one.
    assert all(above.bottom < below.top for above, below in pairwise(left))


@settings(deadline=None)
@given(areas, st.lists(boxes, max_size=6))
def test_when_what_is_left_is_done_too_nothing_is_left(area, done):
    assert uncovered(area, [*done, *uncovered(area, done)]) == []


def test_the_work_does_not_depend_on_the_size_of_boxes():
    far = 10**12
    assert uncovered(Box(0, 0, far, far), [Box(0, 0, far - 1, far)]) == [Box(far - 1, 0, 1, far)]


def test_a_hundred_thousand_tiles_take_seconds_at_most():
    grid = Grid((16_000, 16_000), tile=96)
    tiles = list(grid)
    assert len(tiles) > 100_000
    began = time.perf_counter()
    assert len(uncovered(Box(0, 0, 16_000, 16_000), tiles[: len(tiles) // 2])) in (1, 2)
    assert time.perf_counter() - began < 5
