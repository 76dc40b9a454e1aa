import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchseg.patches.regions import ranked, regions_of


def drawing(shape=(48, 48)):
    """Return a gray image of a dark ground, a bright box and a gray bar, far apart, and the three as regions."""
    truth = np.zeros(shape, np.uint8)
    truth[5:20, 6:30] = 1  # 360 pixels
    truth[30:40, 10:40] = 2  # 300 pixels
    return np.array([20, 200, 110], np.uint8)[truth][..., None], truth


def test_flat_shapes_are_regions_the_largest_first():
    image, truth = drawing()
    found = regions_of(image)
    # Smoothing leaves a rim of mixed pixels around each; within it the regions are those drawn.
    for number in range(3):
        rows, columns = np.nonzero(truth == number)
        inner = [
            (row, column)
            for row, column in zip(rows, columns, strict=True)
            if (truth[max(0, row - 3) : row + 4, max(0, column - 3) : column + 4] == number).all()
        ]
        assert {found[place] for place in inner} == {found[inner[0]]}
    assert len({found[0, 0], found[12, 15], found[35, 20]}) == 3
    assert found[0, 0] == 0


@given(st.integers(0, 2**32 - 1), st.sampled_from([(9, 9), (32, 20), (40, 40)]), st.integers(1, 3))
@settings(max_examples=20)
def test_regions_are_connected_numbered_by_size_and_none_is_small(seed, shape, channels):
    image = np.random.default_rng(seed).integers(0, 256, (*shape, channels), np.uint8)
    found = regions_of(image)
    sizes = np.bincount(found.ravel())
    assert found.shape == shape
    assert found.dtype == np.uint8
    assert (np.diff(sizes) <= 0).all()
    assert sizes.min() >= shape[0] * shape[1] // 200
    assert (regions_of(image) == found).all()
    for number in range(len(sizes)):
        assert parts(found == number) == 1


def parts(mask):
    """Return into how many parts a mask falls, by flooding; corners join, as the method has it."""
    left, count = {tuple(place) for place in np.argwhere(mask)}, 0
    while left:
        count, edge = count + 1, [left.pop()]
        while edge:
            row, column = edge.pop()
            near = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= near
            edge += near
    return count


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: image.astype(np.uint16) * 200, id="16 bits"),
        pytest.param(lambda image: image.astype(np.float32) / 256 - 4, id="floats"),
        pytest.param(lambda image: np.repeat(image, 3, axis=2), id="gray as RGB"),
        pytest.param(lambda image: np.repeat(image, 6, axis=2), id="six channels"),
    ],
)
def test_neither_unit_nor_copies_of_a_channel_change_the_regions(change):
    image, _ = drawing()
    noisy = image + np.random.default_rng(0).integers(0, 40, image.shape, np.uint8)
    assert (regions_of(change(noisy)) == regions_of(noisy)).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 2), (2, 2, 3), (30, 30, 1)])
def test_what_is_flat_or_tiny_is_one_region(shape):
    assert (regions_of(np.full(shape, 9, np.int16)) == 0).all()


def test_the_image_stays_as_it_is():
    image, _ = drawing()
    given_ = image.astype(np.float64)
    kept = given_.copy()
    regions_of(given_)
    assert (given_ == kept).all()


def test_beyond_255_regions_the_smallest_are_none():
    # Region n has n + 1 pixels, so the largest, 299, is first, and those below 45 are left over.
    regions = np.repeat(np.arange(300), np.arange(1, 301))[None]
    found = ranked(regions)
    assert found[0, -1] == 0
    assert set(found[regions >= 45]) == set(range(255))
    assert set(found[regions < 45]) == {255}


def test_equal_regions_keep_their_order():
    regions = np.append(np.repeat(np.arange(100), 2), 100)[None]
    assert (ranked(regions) == regions).all()
    assert ranked(np.array([[2, 1, 1, 0, 3, 3]])).tolist() == [[3, 0, 0, 2, 1, 1]]
