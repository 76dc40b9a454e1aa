import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from patchseg.imaging import Box
from patchseg.studies.regions import CELL, RegionFinder

CODES = arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2))


def found(codes, values=None, *, cuts=()):
    """Find the regions of codes (H, W), given in pieces that begin at `cuts`."""
    values = np.ones((1, *codes.shape), np.float32) if values is None else values
    finder = RegionFinder(codes.shape[1], values=len(values))
    edges = sorted({0, *(cut for cut in cuts if cut < len(codes)), len(codes)})
    for start, stop in itertools.pairwise(edges):
        finder.push(codes[start:stop], values[:, start:stop])
    return finder.finish()


def test_regions_have_the_code_box_pixels_and_sums_that_are_seen():
    codes = np.array(
        [
            [5, 5, 0, 0, 9],
            [0, 0, 5, 0, 9],
            [7, 0, 0, 0, 0],
        ],
        np.uint16,
    )
    values = np.arange(15, dtype=np.float32).reshape(1, 3, 5)
    five, nine, seven = found(codes, values)
    assert (five.code, five.box, five.pixels, five.sums) == (5, Box(0, 0, 2, 3), 3, (0 + 1 + 7,))
    assert (nine.code, nine.box, nine.pixels, nine.sums) == (9, Box(0, 4, 2, 1), 2, (4 + 9,))
    assert (seven.code, seven.box, seven.pixels, seven.sums) == (7, Box(2, 0, 1, 1), 1, (10,))


def test_nothing_gives_no_region():
    assert found(np.zeros((4, 3), np.uint16)) == []
    assert RegionFinder(3, values=0).finish() == []


@given(CODES, st.lists(st.integers(1, 8)))
def test_they_are_those_of_scipy_however_the_rows_are_cut(codes, cuts):
    expected = []
    for code in (1, 2):
        labels, count = ndimage.label(codes == code, structure=np.ones((3, 3)))
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            box = Box(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
            expected.append((code, box, int((labels == number).sum())))
        assert count == sum(entry[0] == code for entry in expected)
    regions = found(codes, cuts=cuts)
    assert sorted((region.code, region.box, region.pixels) for region in regions) == sorted(expected)
    assert regions == found(codes)


def test_a_region_that_two_arms_join_late_is_one():
    codes = np.array([[1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], np.uint16)
    (region,) = found(codes, cuts=(1, 2))
    assert (region.box, region.pixels) == (Box(0, 0, 3, 5), 9 + 2)


@pytest.mark.parametrize(("distance", "near"), [(2, True), (CELL, True), (2 * CELL + 1, False)])
def test_regions_of_neighbouring_cells_are_near(distance, near):
    codes = np.zeros((1, 40), np.uint16)
    codes[0, CELL - 1], codes[0, CELL - 1 + distance] = 1, 2
    one, two = found(codes)
    assert (one.near, two.near) == (({1}, {0}) if near else (set(), set()))


def test_parts_that_are_joined_are_not_near_themselves():
    codes = np.ones((30, 3), np.uint16)
    (region,) = found(codes, cuts=(9, 20))
    assert region.near == frozenset()
