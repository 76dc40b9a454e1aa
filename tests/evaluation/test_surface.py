"""Distances between outlines, against figures worked by hand and the distance transform of the whole image."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from patchseg.evaluation.surface import Apart, Boundaries, apart

CROSS = ndimage.generate_binary_structure(2, 1)


def mask(*rows):
    """Return class indices of digits; a dot is ignored."""
    return np.array([[255 if c == "." else int(c) for c in row] for row in rows], np.uint8)


def boundaries(truth, predicted, classes=2, rows=None):
    found = Boundaries(classes)
    for top in range(0, len(truth), rows or len(truth)):
        found.add(truth[top : top + (rows or len(truth))], predicted[top : top + (rows or len(truth))])
    return [found.of(index) for index in range(classes)]


def slow_boundary(indices, known, index):
    """Return where a known pixel of the class lies beside a known one of another."""
    return (indices == index) & known & ndimage.binary_dilation(known & (indices != index), CROSS)


def drawn(seed, shape=(23, 17), classes=3, ignored=0.03):
    """Return truth and mask of blobs that resemble each other, with some pixels ignored in either."""
    random = np.random.default_rng(seed)
    base = ndimage.gaussian_filter(random.normal(size=(2, *shape)), (0, 2, 2))
    base[1] = base[0] + 0.5 * base[1]
    pair = np.digitize(base / base.std(), np.linspace(-0.5, 0.5, classes - 1)).astype(np.uint8)
    pair[random.random(pair.shape) < ignored] = 255
    return pair[0], pair[1]


def test_a_boundary_pixel_has_a_pixel_of_another_class_beside_it():
    indices = mask("00000", "01110", "01110", "01110", "00000")
    ((truth, _), (one, other)) = boundaries(indices, indices)
    ring = [[1, 1], [1, 2], [1, 3], [2, 1], [2, 3], [3, 1], [3, 2], [3, 3]]
    assert one.tolist() == other.tolist() == ring
    assert one.dtype == np.int32
    # Of the background those beside the square; the corners of the image touch it by no side.
    assert len(truth) == 12


def test_neither_the_border_of_the_image_nor_ignored_pixels_make_a_boundary():
    indices = mask("111", "111", "1.0")
    _, (one, _) = boundaries(indices, indices)
    assert one.tolist() == [[1, 2]]


def test_what_is_ignored_in_one_has_no_class_in_the_other():
    # The pixel of class 1 that the mask has alone lies where the truth says nothing.
    ((_, _), (truth, predicted)) = boundaries(mask("0000.00"), mask("0000100"))
    assert (len(truth), len(predicted)) == (0, 0)
    ((_, _), (truth, predicted)) = boundaries(mask("0000100"), mask("0000.00"))
    assert (len(truth), len(predicted)) == (0, 0)


def test_a_square_that_is_one_pixel_off_worked_by_hand():
    # Columns 1 and 2 are true, columns 2 and 3 are predicted; all of them are boundary.
    truth, predicted = mask("0110000", "0110000"), mask("0011000", "0011000")
    distances = apart(*boundaries(truth, predicted)[1])
    assert distances.truth.tolist() == [1, 0, 1, 0]
    assert distances.mask.tolist() == [0, 1, 0, 1]
    assert (distances.f1(0), distances.f1(0.99), distances.f1(1)) == (0.5, 0.5, 1)
    assert distances.mean == 0.5
    assert distances.hausdorff_95 == 1


def test_precision_and_recall_of_boundaries_of_other_lengths_worked_by_hand():
    # One of 4 true pixels is near, and both of 2 predicted ones: R = 1/4, P = 1.
    distances = Apart(np.array([1.0, 3.0, 4.0, 5.0]), np.array([1.0, 1.0]))
    assert distances.f1(2) == pytest.approx(2 * (1 / 4) / (1 / 4 + 1))
    assert distances.mean == 15 / 6
    # The percentile of the truth: 95 % of the way through 4 numbers is 0.85 of the way from the third to the fourth.
    assert distances.hausdorff_95 == pytest.approx(4.85)


def test_a_class_in_neither_has_no_measure_and_one_in_only_one_has_no_distance():
    distances = [apart(*pair) for pair in boundaries(mask("0011"), mask("0000"), classes=3)]
    assert [d.f1(2) for d in distances] == [0, 0, None]
    assert [d.hausdorff_95 for d in distances] == [None] * 3
    assert [d.mean for d in distances] == [None] * 3
    assert distances[1].times(0.5).f1(2) == 0


def test_boundaries_that_are_nowhere_near_score_zero():
    assert apart(np.array([[0, 0]], np.int32), np.array([[9, 9]], np.int32)).f1(3) == 0


def test_pixels_that_are_no_squares_are_measured_as_they_are():
    truth, predicted = np.array([[0, 0]], np.int32), np.array([[2, 0], [0, 3]], np.int32)
    assert apart(truth, predicted, (0.5, 2.0)).mask.tolist() == [1, 6]
    assert apart(truth, predicted).times(0.5).mask.tolist() == [1, 1.5]


@pytest.mark.parametrize("seed", range(8))
def test_the_distance_transform_of_the_whole_image_says_exactly_the_same(seed):
    truth, predicted = drawn(seed)
    known = (truth != 255) & (predicted != 255)
    compared = 0
    for index, places in enumerate(boundaries(truth, predicted, 3, rows=5)):
        edges = [slow_boundary(one, known, index) for one in (truth, predicted)]
        assert all((np.argwhere(edge) == found).all() for edge, found in zip(edges, places, strict=True))
        far = [ndimage.distance_transform_edt(~edge) for edge in edges]
        distances = apart(*places)
        if all(edge.any() for edge in edges):
            compared += 1
            assert (distances.truth == far[1][edges[0]]).all()
            assert (distances.mask == far[0][edges[1]]).all()
    assert compared >= 2


def test_the_distance_transform_says_the_same_where_pixels_are_no_squares():
    truth, predicted = drawn(1, ignored=0)
    known, pixel = np.ones(truth.shape, bool), (0.3, 0.7)
    for index, places in enumerate(boundaries(truth, predicted, 3)):
        edges = [slow_boundary(one, known, index) for one in (truth, predicted)]
        far = ndimage.distance_transform_edt(~edges[1], sampling=pixel)
        np.testing.assert_allclose(apart(*places, pixel).truth, far[edges[0]], rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 9))
def test_bands_of_any_height_find_the_boundary_of_the_whole(seed, rows):
    truth, predicted = drawn(seed, (9, 8))
    whole, banded = boundaries(truth, predicted, 3), boundaries(truth, predicted, 3, rows)
    for one, other in zip(whole, banded, strict=True):
        for expected, found in zip(one, other, strict=True):
            assert expected.tolist() == found.tolist()


def test_no_row_makes_no_boundary():
    found = Boundaries(2)
    found.add(np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8))
    assert [len(side) for side in found.of(1)] == [0, 0]


def test_memory_grows_with_the_boundary_not_with_the_height():
    band = np.zeros((8, 2048), np.uint8)
    band[:, 1024:] = 1  # two columns of boundary pixels in each mask

    def peak(bands):
        tracemalloc.start()
        found = Boundaries(2)
        for _ in range(bands):
            found.add(band, band)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    # 16 rows of pixels a step against 400 times as many: but for 8 bytes a boundary pixel (and its array) no more.
    assert peak(400) - peak(2) < 400 * (4 * 8 * 8 + 4 * 200) < 8 * 400 * 2048 / 8
